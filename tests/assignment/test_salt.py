"""
Another salt has other worlds, splits, questions and banks. Without one, all is as it was before
there were salts.
"""

import hashlib

import pytest
import torch
from helpers import TINY, main, refused

import train
from support.flags import find_task
from support.hashing import SPLITS, in_split, tenth
from tasks import MultiHop, Sudoku

BEFORE = {  # digests of batches and facts, made with the commit before the first salt (c3163bc)
    "multihop": "7b5ff8d1eef054d6",
    "composition": "62244250088c3735",
    "phop": "1124260a04bd7a1f",
    "addition": "4feada1ce4c182e4",
    "chains": "5b4430799c95f49a",
    "sudoku": "5eadecada9b2c61e",
}


def make(name, tmp_path, **more):
    if name == "sudoku":
        more = dict(puzzles=200, banks=str(tmp_path), **more)
    return find_task(name)(seed=3, **more)


def digest(task):
    parts = [part for split in SPLITS for part in task.batch(split, 7, 16)]
    if hasattr(task, "facts"):
        parts.append(task.facts)
    content = b"".join(part.contiguous().numpy().tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize("name", BEFORE)
def test_without_a_salt_all_is_as_before(name, tmp_path):
    assert digest(make(name, tmp_path)) == digest(make(name, tmp_path, salt="")) == BEFORE[name]


@pytest.mark.parametrize("name", BEFORE)
def test_each_salt_has_questions_of_its_own_and_the_same_ones_each_time(name, tmp_path):
    salts = ("", "2026", "2030") if name == "sudoku" else ("", "2026", "2027")  # see the last test
    found = [digest(make(name, tmp_path / salt, salt=salt)) for salt in salts]
    assert len(set(found)) == 3
    assert found[1] == digest(make(name, tmp_path / "again", salt="2026"))


def test_a_salt_moves_questions_to_other_splits_of_the_same_size():
    rows = torch.randint(1, 50, (20_000, 5), generator=torch.Generator().manual_seed(0))
    before, after = tenth(rows), tenth(rows, "2026")
    assert (before == after).float().mean() < 0.13  # a tenth by chance
    for split, tenths in SPLITS.items():
        assert abs(in_split(rows, split, "2026").float().mean() - len(tenths) / 10) < 0.02


@pytest.mark.parametrize("name", ["multihop", "composition", "phop", "addition", "chains"])
def test_the_splits_of_a_salt_are_disjoint(name, tmp_path):
    task = make(name, tmp_path, salt="2026")
    hardest = task.max_difficulty
    of = {
        split: {tuple(row) for row in task.batch(split, 0, 200, hardest).tokens.tolist()}
        for split in SPLITS
    }
    assert not (of["train"] & of["val"] or of["train"] & of["test"] or of["val"] & of["test"])


def test_worlds_differ_by_salt_and_by_seed():
    worlds = [MultiHop(seed=seed, salt=salt).facts for seed in (0, 1) for salt in ("", "a", "b")]
    assert all(not torch.equal(one, other) for i, one in enumerate(worlds) for other in worlds[:i])


def test_a_bank_of_another_salt_is_another_file(tmp_path):
    plain, salted = (Sudoku(puzzles=200, banks=str(tmp_path), salt=salt) for salt in ("", "a/4"))
    assert not torch.equal(plain.bank["train"]["puzzle"][:9], salted.bank["train"]["puzzle"][:9])
    assert (
        len(list(tmp_path.glob("*.pt"))) == 2 and (tmp_path / "sudoku-2x2-200-by-kind.pt").exists()
    )


def test_a_run_remembers_its_salt(elsewhere, capsys):
    main(["--task", "multihop", "--salt", "2026", *TINY])
    _, task, flags = train.load_model("runs/multihop")
    assert flags.salt == task.salt == "2026" and torch.equal(
        task.facts, MultiHop(salt="2026").facts
    )
    main(["--out", "runs/multihop", "--resume"])  # it need not be said again
    refused(lambda: main(["--out", "runs/multihop", "--resume", "--salt", "2027"]), capsys)


def test_a_salt_that_leaves_a_split_without_any_kind_of_4x4_says_so(tmp_path):
    with pytest.raises(
        ValueError, match="no val puzzle among 200: choose another salt, a larger box"
    ):
        Sudoku(puzzles=200, banks=str(tmp_path), salt="2027").batch("val", 0, 1)
