"""exits: what each rule spends, against `solve` called directly."""

import argparse
import json

import pytest
import torch

from analyses import exits
from tasks import IGNORE
from train import load_model


def test_exits_counts_what_each_rule_spends(runs, run, capsys):
    run("exits", runs / "hops", "--loops", 6, "--examples", 20, "--factor", 2)
    numbers = json.loads((runs / "hops/exits.json").read_text())
    fixed = numbers["rules"]["fixed"]
    assert [used for _, used in fixed["easy"]] == [1, 2, 3, 4, 5, 6] and fixed["settings"] == [1, 2, 3, 4, 5, 6]
    model, task, _ = load_model(runs / "hops")
    right, used = [], []
    for difficulty in (1, 2):
        batch = task.batch("test", 0, 4, difficulty)
        answers = batch.targets != IGNORE
        logits, loops = model.solve(batch.tokens, "entropy", exits.THRESHOLDS["entropy"][0], 6, answers)
        right += task.check(batch, logits.argmax(-1)).tolist()
        used += loops.tolist()
    assert numbers["rules"]["entropy"]["easy"][0] == pytest.approx([sum(right) / 8, sum(used) / 8])
    assert "chosen on val" in capsys.readouterr().out
    assert (runs / "hops/exits.png").stat().st_size > 10_000


def test_exits_pools_seeds_and_takes_boards(runs, run):
    run("compute", runs / "hops", runs / "other", "--loops", 4, "--examples", 10, "--factor", 2)
    numbers = json.loads((runs / "hops/exits.json").read_text())  # compute is the old name of exits
    assert numbers["seeds"] == [0, 1] and numbers["questions"] == 2 * 2 * 4  # of each of 4 difficulties
    run("exits", runs / "boards", "--loops", 4, "--examples", 10)
    assert json.loads((runs / "boards/exits.json").read_text())["hard"] == "the harder half"


def test_the_cheapest_of_the_good_thresholds_is_chosen():
    val = {  # right, loops of two questions
        ("kl", 0.1): torch.tensor([[0, 1], [1, 1]]),
        ("kl", 0.01): torch.tensor([[1, 1], [4, 6]]),
        ("kl", 0.001): torch.tensor([[1, 1], [5, 4]]),
        ("fixed", 2): torch.tensor([[1, 1], [2, 2]]),
    }
    assert exits.choose(val, [key for key in val if key[0] == "kl"]) == ("kl", 0.001)


def test_measuring_each_question_alone_changes_nothing(runs):
    model, task, flags = load_model(runs / "hops")
    args = argparse.Namespace(loops=5, examples=20, factor=2)
    found = exits.measure_exits(model, task, flags, "test", args)
    batch = task.batch("test", 0, 4, 3)
    rows = found["difficulty"] == 3
    for row in range(4):
        _, used = model.solve(batch.tokens[row : row + 1], "settle", 0.1, 5)
        assert used.item() == found["settle", 0.1][1, rows][row].item()
