"""Movement, rest and path independence, against a direct computation."""

import argparse
import json
import math

import pytest
import torch
from helpers import Counting
from torch.nn import functional as F

from analyses.fixedpoint import (
    auroc,
    draw_fixedpoint,
    first_loop,
    interval,
    layered,
    measure_fixedpoint,
    with_state,
)
from analyses.fixedpoint_more import draw_more
from looped import Config, LoopedGPT
from train import load_model


@pytest.mark.parametrize("name", ("hops", "digits", "boards", "facts"))
def test_fixedpoint_on_every_kind_of_task(runs, run, name, capsys):
    run("fixedpoint", runs / name, "--loops", 12, "--examples", 16, "--factor", 2)
    numbers = json.loads((runs / name / "fixedpoint.json").read_text())
    model, task, _ = load_model(runs / name)
    row = numbers["by_difficulty"][0]
    h = model.trajectory(task.batch("test", 0, 4, row["difficulty"]).tokens, 12)
    moved = (h[5] - h[4]).flatten(1).norm(dim=1) / h[5].flatten(1).norm(dim=1)
    assert row["movement"][4] == pytest.approx(moved.median().item(), rel=1e-4)
    assert len(numbers["auroc"]) == 12 and numbers["distance"][0][-1] == pytest.approx(0, abs=1e-6)
    assert numbers["size"][0] == pytest.approx(1, abs=0.1)
    assert "cosine to the usual end" in capsys.readouterr().out
    assert (runs / name / "fixedpoint.png").exists()
    assert (runs / name / "fixedpoint_more.png").exists()
    draw_fixedpoint(numbers), draw_more(numbers)  # the JSON holds all that the pictures show


@torch.no_grad()
def test_fixedpoint_starts_again_from_where_another_question_ended(runs, run):
    run("fixedpoint", runs / "hops", "--loops", 7, "--examples", 16, "--factor", 1)
    numbers = json.loads((runs / "hops/fixedpoint.json").read_text())
    model, task, _ = load_model(runs / "hops")
    right = []
    for difficulty in (1, 2):
        batch = task.batch("test", 0, 4, difficulty)
        _, e, positions = model.begin(batch.tokens)
        h = model.think(batch.tokens, 7).roll(1, 0)
        for t in range(7):
            h = model.loop(h, e, t, positions)
        right += task.check(batch, model.readout(h).argmax(-1)).tolist()
    assert numbers["right_from_another's end"] == pytest.approx(sum(right) / 8)


def test_layers_seen_by_hooks_are_the_layers_of_the_loop():
    torch.manual_seed(0)
    model = LoopedGPT(Config(vocab_size=9, n_embd=16, n_head=2, n_core=3, n_prelude=1))
    tokens = torch.randint(9, (2, 6))
    states, layers = layered(model, tokens, 4)
    assert torch.equal(layers[:, -1], states[1:])
    assert torch.equal(states, model.trajectory(tokens, 4))
    _, e, positions = model.begin(tokens)
    assert torch.equal(layers[2, 0], model.core[0](model.inject(states[2], e), positions))
    assert not model.core[0]._forward_hooks


def test_auroc_counts_pairs():
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(6, (40,), generator=generator).float()  # with ties
    label = torch.rand(40, generator=generator) < 0.4
    of_true, of_false = score[label].tolist(), score[~label].tolist()
    pairs = [(a > b) + 0.5 * (a == b) for a in of_true for b in of_false]
    assert auroc(score, label) == pytest.approx(sum(pairs) / len(pairs))
    assert math.isnan(auroc(score, torch.ones(40, dtype=torch.bool)))
    group = torch.randint(3, (40,), generator=generator)
    rows = list(zip(score.tolist(), label.tolist(), group.tolist()))
    pairs = []
    for a, a_is_true, group_of_a in rows:
        for b, b_is_true, group_of_b in rows:
            if a_is_true and not b_is_true and group_of_a == group_of_b:
                pairs.append((a > b) + 0.5 * (a == b))
    assert auroc(score, label, group) == pytest.approx(sum(pairs) / len(pairs))


def test_the_interval_holds_the_auroc_and_shrinks_with_more_questions():
    generator = torch.Generator().manual_seed(0)
    label = torch.rand(400, generator=generator) < 0.5
    # two normals one apart: AUROC = Phi(1 / sqrt 2) = 0.760
    score = label + torch.randn(400, generator=generator)
    low, high = interval(score, label)
    assert low < auroc(score, label) < high and low < 0.76 < high
    fewer = interval(score[:50], label[:50])
    assert 1.5 < (fewer[1] - fewer[0]) / (high - low) < 6  # about sqrt 8
    assert math.isnan(interval(score, torch.ones(400, dtype=torch.bool))[0])


def test_the_first_loop_is_the_one_from_which_it_holds_to_the_end():
    holds = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]]).bool()
    assert first_loop(holds).tolist() == [1, 3, 2, 4]


# ---- a state that carries more than a state


class AnsweringCounting(Counting):
    """Answers by the count, too."""

    def readout(self, h):
        logits = super().readout(h)
        return logits + h[..., -1:] * F.one_hot(torch.tensor(0), logits.shape[-1])


def plain_and_counting():
    """Two models with the same weights."""
    torch.manual_seed(0)
    plain = LoopedGPT(Config(vocab_size=29, n_embd=16, n_head=2))
    counting = AnsweringCounting(plain.config)
    counting.load_state_dict(plain.state_dict())
    return plain, counting


def test_counters_do_not_move_the_state(runs):
    plain, counting = plain_and_counting()
    _, task, flags = load_model(runs / "hops")
    args = argparse.Namespace(loops=6, examples=40, factor=1)
    usual, found = (measure_fixedpoint(model, task, flags, args) for model in (plain, counting))
    for key in usual:
        if not key.startswith("right"):
            assert torch.equal(found[key], usual[key]), key
    assert found["movement"].shape == (20, 6)


def test_a_start_elsewhere_changes_the_state_and_nothing_beside_it():
    _, counting = plain_and_counting()
    h, state = torch.randn(2, 3, 17), torch.randn(2, 3, 16)
    start = with_state(counting, h, state)
    assert torch.equal(start[..., :16], state) and torch.equal(start[..., 16], h[..., 16])
    counting.proper_state = lambda h: 2 * h[..., :-1]  # no part of h
    with pytest.raises(ValueError, match="Counting cannot be started elsewhere"):
        with_state(counting, h, state)


def test_layers_that_do_not_run_in_every_loop_are_refused():
    class Skipping(LoopedGPT):
        def loop(self, h, e, t, positions):
            return super().loop(h, e, t, positions) if t % 2 == 0 else h

    model = Skipping(Config(vocab_size=9, n_embd=16, n_head=2))
    with pytest.raises(ValueError, match="do not all run the same layers"):
        layered(model, torch.randint(9, (2, 6)), 3)
