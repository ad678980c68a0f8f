"""exits: what each rule spends, against `solve` called directly."""

import argparse
import json

import pytest
import torch
from helpers import TINY, build, main, tokens
from torch.nn import functional as F

from analyses import exits
from looped import LoopedGPT
from tasks import IGNORE
from train import load_model


def test_exits_counts_what_each_rule_spends(runs, run, capsys):
    run("exits", runs / "hops", "--loops", 6, "--examples", 20, "--factor", 2)
    numbers = json.loads((runs / "hops/exits.json").read_text())
    fixed = numbers["rules"]["fixed"]
    assert [used for _, used in fixed["easy"]] == [1, 2, 3, 4, 5, 6]
    assert fixed["settings"] == [1, 2, 3, 4, 5, 6]
    model, task, _ = load_model(runs / "hops")
    right, used = [], []
    for difficulty in (1, 2):
        batch = task.batch("test", 0, 4, difficulty)
        answers = batch.targets != IGNORE
        logits, loops = model.solve(batch.tokens, exits.entropy, exits.THRESHOLDS[0], 6, answers)
        right += task.check(batch, logits.argmax(-1)).tolist()
        used += loops.tolist()
    assert numbers["rules"]["entropy"]["easy"][0] == pytest.approx([sum(right) / 8, sum(used) / 8])
    assert "chosen on val" in capsys.readouterr().out
    assert (runs / "hops/exits.png").stat().st_size > 10_000


def test_exits_pools_seeds_and_takes_boards(runs, run):
    few = ("--loops", 4, "--examples", 10, "--factor", 2)
    run("exits", runs / "hops", runs / "other", *few)
    numbers = json.loads((runs / "hops/exits.json").read_text())
    assert numbers["seeds"] == [0, 1]
    assert numbers["questions"] == 2 * 2 * 4  # two of each of 4 difficulties, from each run
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
    model.exit_rules = exits.RULES
    spent = set()
    for rule in exits.RULES:
        for threshold in exits.THRESHOLDS[:6]:
            for row in range(4):
                one = slice(row, row + 1)
                logits, used = model.solve(batch.tokens[one], rule, threshold, 5, answers[one])
                right = (logits.argmax(-1) == batch.targets[one])[answers[one]].all()
                expected = [right.item(), used.item()]
                assert found[rule, threshold][:, rows][:, row].tolist() == expected
                spent.add(used.item())
    assert len(spent) > 2


def test_the_title_names_the_cheapest_of_the_accurate_rules():
    found = ([0.5, 3.0], [0.98, 20.0], [0.985, 40.0], [0.99, 30.0], [0.9, 10.0])
    ends = dict(zip(exits.RULES, found)) | {"fixed": [0.97, 44.0]}
    rules = {rule: dict(settings=[1], chosen=1, hard=[end]) for rule, end in ends.items()}
    title = exits.title_of(dict(rules=rules, task="t", hard="more than 6 hops", seeds=[0]))
    assert title.startswith("settle at answer: 0.98 right with 20 loops on average, 0.97 with 44 ")


def test_rules_look_at_the_answer_or_everywhere():
    model, h = build(), torch.zeros(1, 2, 4)
    h[0, 0, 0] = h[0, 1, 1] = 1.0
    before = h.clone()
    before[0, 0] = 0.0  # only what is no answer has moved
    answers = torch.tensor([[False, True]])
    assert exits.settle_at_answer(model, before, h, answers, None).item() == 0
    assert exits.settle(model, before, h, answers, None).item() == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("rule", ("kl", "entropy"))
@torch.no_grad()
def test_solve_stops_each_sequence_at_the_first_loop_that_meets_the_rule(rule):
    model, x = build(), tokens(rows=12)
    answers = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    answers[:, -1] = True
    states = model.trajectory(x, 8)
    measures = []
    for t in range(1, 9):
        p, q = model.readout(states[t]).softmax(-1), model.readout(states[t - 1]).softmax(-1)
        each = torch.distributions.Categorical(p).entropy()
        if rule == "kl":
            each = F.kl_div(q.log(), p, reduction="none").sum(-1)
        measures.append(torch.stack([each[i][answers[i]].max() for i in range(12)]))
    measures = torch.stack(measures)  # (8, 12)
    threshold = measures.flatten().quantile(0.3).item()
    measure, _ = exits.RULES[rule]
    logits, used = model.solve(x, measure, threshold, max_loops=8, answer_mask=answers)
    expected = [next((t + 1 for t in range(8) if measures[t, i] < threshold), 8) for i in range(12)]
    assert used.tolist() == expected and len(set(expected)) > 1
    alone = torch.cat([model(x[i : i + 1], n) for i, n in enumerate(expected)])
    torch.testing.assert_close(logits, alone)


def test_the_rule_of_a_model_stands_beside_the_others(run, elsewhere):
    flags = "--task multihop --hops 2 --model ouro --sampler fixed --loops 4 --no-curriculum"
    main([*flags.split(), *TINY, "--out", "run"])
    run("exits", "run", "--loops", 6, "--examples", 20, "--factor", 2)
    with open("run/exits.json") as file:
        rules = json.load(file)["rules"]
    assert list(rules) == ["fixed", *exits.RULES, "gate"]
    assert 0.5 in rules["gate"]["settings"]  # its usual threshold
    model, task, flags = load_model("run")
    args = argparse.Namespace(loops=6, examples=20, factor=2)
    found = exits.measure_exits(model, task, flags, "test", args)
    batch = task.batch("test", 0, 4, 3)
    logits, used = model.solve(batch.tokens, "gate", 0.5, 6, batch.targets != IGNORE)
    right = task.check(batch, logits.argmax(-1))
    rows = found["difficulty"] == 3
    assert found["gate", 0.5][:, rows].tolist() == [right.tolist(), used.tolist()]


def test_the_rules_of_looped_are_there_once():
    assert exits.rules_of(build()) == exits.RULES
    assert exits.RULES["settle"] == LoopedGPT.exit_rules["settle"]
    for measure, threshold in exits.RULES.values():
        assert callable(measure) and 0 < threshold < 1
