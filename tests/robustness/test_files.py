"""Damaged checkpoints and configs, full and read-only disks, random puzzle files."""

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from helpers import PUZZLE, SOLUTION, TINY, main, metrics, refused, same_checkpoints

import support.session
from support import files, folder
from support.puzzle_files import read_puzzles
from tasks import Sudoku
from train import load_model

pytestmark = pytest.mark.usefixtures("elsewhere")


# ---- checkpoints


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("damage", ("missing", "truncated", "text", "pickle", "foreign", "list"))
def test_checkpoints_that_are_none_are_refused_and_never_executed(damage, run, capsys):
    path = run / "checkpoint.pt"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(3), "bomb": Bomb()}, path)
    else:
        torch.save([torch.zeros(3)], path)
    for call in (lambda: main(["--out", "run", "--resume"]), lambda: load_model("run")):
        assert "checkpoint" in refused(call, capsys)
    assert metrics("run")
    assert not Path("exploded").exists()


def test_a_flipped_bit_in_a_checkpoint_is_refused_or_harmless(run, capsys):
    path, draw, no = run / "checkpoint.pt", random.Random(0), 0
    content = path.read_bytes()
    expected = load_model("run")[0].state_dict()
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        capsys.readouterr()
        try:
            found = load_model("run")[0].state_dict()
        except SystemExit as stop:
            error = capsys.readouterr().err
            assert stop.code == 2 and error.count("\n") == 1 and "damaged" in error
            no += 1
        else:  # a bit of padding, or a time stamp
            assert all(torch.equal(found[name], weights) for name, weights in expected.items())
    assert no > 20


@pytest.mark.parametrize("version", (None, 1, 99))
def test_a_checkpoint_of_another_version_is_refused(version, run, capsys):
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    assert checkpoint.pop("version") == folder.VERSION == 2
    if version is not None:
        checkpoint["version"] = version
    checkpoint["model"]["bias"] = checkpoint["model"].pop("positions.bias")  # as it was called then
    torch.save(checkpoint, run / "checkpoint.pt")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "position": "learned", "file": None}))
    before = (run / "checkpoint.pt").read_bytes()
    for call in (lambda: load_model("run"), lambda: main(["--resume", "--out", "run"])):
        assert (
            f"is a checkpoint of version {version or 1}; this program reads version 2"
            in refused(call, capsys)
        )
    assert (run / "checkpoint.pt").read_bytes() == before


# ---- configs


@pytest.mark.parametrize(
    "changes",
    [
        dict(task=3),
        dict(task=["multihop"]),
        dict(task="chess"),
        dict(model=None),
        dict(model="../looped"),
        dict(seed="x"),
        dict(steps="many"),
        dict(steps=None),
        dict(lr="0.1"),
        dict(hops="6"),
        dict(hops=5.5),
        dict(hops=-1),
        dict(tied="yes"),
        dict(sampler="normal"),
        dict(injection="glue"),
        dict(n_embd=32),
        dict(n_core=2),
        dict(loops=0),
    ],
    ids=str,
)
def test_an_edited_config_that_cannot_be_is_refused(changes, run, capsys):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **changes}))
    for call in (lambda: load_model("run"), lambda: main(["--resume", "--out", "run"])):
        refused(call, capsys)


@pytest.mark.parametrize(
    "text",
    ("", "{", "[]", "3", '"multihop"', "null", "{}", '{"task": "multihop"}', "\x00", "\ud800"),
)
def test_a_config_that_is_none_is_refused(text, run, capsys):
    (run / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    for call in (lambda: load_model("run"), lambda: main(["--resume", "--out", "run"])):
        assert "config.json is not a config of this program, or damaged" in refused(call, capsys)


def test_a_flipped_bit_in_a_config_is_refused_or_leaves_a_run_that_loads(run, capsys):
    path, draw, no = run / "config.json", random.Random(0), 0
    content = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        capsys.readouterr()
        try:
            load_model("run")
        except SystemExit as stop:
            error = capsys.readouterr().err
            assert stop.code == 2 and error.count("\n") == 1 and ": error: " in error
            no += 1
    assert 10 < no < 60


# ---- disks


def test_a_save_that_fails_leaves_the_last_good_checkpoint(run, monkeypatch, capsys):
    good = (run / "checkpoint.pt").read_bytes()

    def full_disk(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    assert "No space left" in refused(lambda: files.save(run / "checkpoint.pt", {}), capsys, code=1)
    assert (run / "checkpoint.pt").read_bytes() == good and not list(run.glob("*unfinished*"))


def test_a_full_disk_ends_the_run_with_a_line_and_leaves_it_to_be_resumed(
    trained, monkeypatch, capsys
):
    shutil.copytree(trained, "straight")
    real, rows = open, []

    def full(path, mode="r", **options):
        if (
            str(path).endswith("metrics.jsonl")
            and mode == "a"
            and rows.append(path) is None
            and len(rows) == 2
        ):
            raise OSError(28, "No space left on device", str(path))
        return real(path, mode, **options)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(support.session, "open", full, raising=False)
        main(["--task", "multihop", *TINY, "--out", "run"])
    assert stop.value.code and "No space left" in capsys.readouterr().err.splitlines()[-1]
    main(["--out", "run", "--resume"])
    assert same_checkpoints("run", "straight") and metrics("run") == metrics("straight")


def test_a_read_only_folder_is_refused_before_anything_is_lost(run, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in run.iterdir()}

    def read_only(path, *_, **__):
        raise PermissionError(30, "Read-only file system", str(path))

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        patch.setattr(Path, "write_text", read_only)
        patch.setattr(files, "open", read_only, raising=False)
        for argv in (
            ["--task", "multihop", *TINY, "--overwrite", "--out", "run"],
            ["--resume", "--out", "run"],
        ):
            with pytest.raises(SystemExit) as stop:
                main(argv)
            error = capsys.readouterr().err
            assert stop.value.code and error.count("\n") == 1 and "Read-only" in error
    assert before == {path: path.read_bytes() for path in run.iterdir()}


# ---- banks and files of puzzles


def test_a_damaged_bank_of_puzzles_is_made_again(tmp_path):
    first = Sudoku(box="2x2", puzzles=60, banks=str(tmp_path))
    assert first.bank
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 4, len(content) // 2):
        content[position] ^= 1
    path.write_bytes(content)
    again = Sudoku(box="2x2", puzzles=60, banks=str(tmp_path))
    for split in first.bank:
        assert all(
            torch.equal(first.bank[split][key], again.bank[split][key]) for key in first.bank[split]
        )


def damage(draw, content):
    """Puzzles as bytes, spoilt in one to three ways."""
    for _ in range(draw.randint(1, 3)):
        at = draw.choice((draw.randrange(len(content) + 1), content.find(b"\n") + 1, len(content)))
        inserted = (
            *(
                b"\xff",
                b"\x00",
                b"\r\n",
                b"\r",
                b"\x1c",
                b" ",
                b",",
                b"#",
                b"0",
                b"9",
                b"-",
                b"x",
                b"\t",
            ),
            *(
                "٣".encode(),
                "²".encode(),
                "½".encode(),
                "\u2028".encode(),
                "\ufeff".encode(),
                "数独".encode(),
            ),
            *(
                b"1" * 81,
                b"." * 81 + b"\n",
                b"." * 36 + b"\n",
                PUZZLE.encode() + b"," + SOLUTION.encode(),
            ),
        )
        way = draw.randrange(6)
        if way == 0:
            content = content[:at]
        elif way == 1:
            content = content.decode("utf-8", "replace").encode(
                draw.choice(("utf-16", "utf-32", "utf-8-sig"))
            )
        elif way == 2:
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        else:
            content = (
                content[:at] + draw.choice(inserted) * draw.choice((1, 1, 2, 50)) + content[at:]
            )
    return content


def test_random_puzzle_files_are_read_or_refused_with_a_reason(tmp_path):
    draw, read = random.Random(0), 0
    whole = f"{PUZZLE},{SOLUTION}\n{PUZZLE}\n# easy\n{SOLUTION}\n{'.' * 81}\n".encode()
    for _ in range(1000):
        (tmp_path / "puzzles.txt").write_bytes(damage(draw, whole))
        try:
            puzzles, solutions, lines, skipped, _ = read_puzzles(tmp_path / "puzzles.txt")
        except ValueError as error:
            assert "puzzles.txt" in str(error) and "\n" not in str(error) and len(str(error)) < 500
        else:
            side = round(puzzles.shape[1] ** 0.5)
            assert len(lines) == len(puzzles) and all(text.startswith("line ") for text in skipped)
            assert puzzles.shape == solutions.shape and 0 <= puzzles.min() and puzzles.max() <= side
            read += 1
    assert 50 < read < 950


def test_a_line_of_ten_megabytes_and_a_board_of_many_solutions(tmp_path):
    path = tmp_path / "puzzles.txt"
    path.write_text("1" * 10_000_000)
    with pytest.raises(ValueError, match="10000000 characters"):
        read_puzzles(path)
    path.write_text(f"{'.' * 80}1\n")
    with pytest.raises(ValueError, match="line 1: two solutions or more"):
        Sudoku(box="3x3", file=str(path)).batch("test", 0, 1)
