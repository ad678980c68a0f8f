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
        logits, loops = model.solve(batch.tokens, "entropy", exits.THRESHOLDS[0], 6, answers)
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


def test_what_a_rule_spends_is_what_solve_spends_on_each_question_alone(runs):
    model, task, flags = load_model(runs / "hops")
    args = argparse.Namespace(loops=5, examples=20, factor=2)
    found = exits.measure_exits(model, task, flags, "test", args)
    batch = task.batch("test", 0, 4, 3)
    rows = found["difficulty"] == 3
    answers = batch.targets != IGNORE
    model.exit_rules = {name: (measure, 1.0) for name, measure in exits.RULES.items()}
    spent = set()
    for rule in exits.RULES:
        for threshold in exits.THRESHOLDS[:6]:
            for row in range(4):
                one = slice(row, row + 1)
                logits, used = model.solve(batch.tokens[one], rule, threshold, 5, answers[one])
                right = (logits.argmax(-1) == batch.targets[one])[answers[one]].all()
                assert found[rule, threshold][:, rows][:, row].tolist() == [right.item(), used.item()]
                spent.add(used.item())
    assert len(spent) > 2


def test_the_title_names_the_cheapest_of_the_accurate_rules():
    ends = dict(zip(exits.RULES, ([0.5, 3.0], [0.98, 20.0], [0.985, 40.0], [0.99, 30.0], [0.9, 10.0])))
    rules = {rule: dict(settings=[1], chosen=1, hard=[end]) for rule, end in {**ends, "fixed": [0.97, 44.0]}.items()}
    title = exits.title_of(dict(rules=rules, task="t", hard="more than 6 hops", seeds=[0]))
    assert title.startswith("settle at answer: 0.98 right with 20 loops on average, 0.97 with 44 for every question")


def test_rules_look_at_the_answer_or_everywhere():
    h = torch.zeros(1, 2, 4)
    h[0, 0, 0] = h[0, 1, 1] = 1.0
    before = h.clone()
    before[0, 0] = 0.0  # only what is no answer has moved
    answers = torch.tensor([[False, True]])
    assert exits.settle_at_answer(None, before, h, answers, None).item() == 0
    assert exits.settle(None, before, h, answers, None).item() == pytest.approx(0.5**0.5)
