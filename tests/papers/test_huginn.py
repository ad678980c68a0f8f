"""What huginn.py reads off its curves, against a loop in Python; two starts, and a loop with one end or none."""

import pytest
import torch
from helpers import build, paper

from tasks import MultiHop

huginn = paper("huginn")


@pytest.mark.parametrize("curve", [[0.1, 0.5, 0.99, 1.0, 0.98], [1.0, 0.2, 1.0, 1.0], [0.5, 0.5], [0.0, 0.0, 1.0]])
def test_the_plateau_is_where_the_curve_stays_near_its_end(curve):
    near = [abs(each - curve[-1]) <= 0.02 or each > curve[-1] for each in curve]
    expected = next(t for t in range(1, len(curve) + 1) if all(near[t - 1 :]))
    found = [{"kind, 3 hops by loop": each} for each in (curve, [0.0] * len(curve), [2.0] * len(curve))]
    assert huginn.plateau(found, "kind", 3) == expected  # the median of the three seeds


def test_two_starts_end_alike_if_the_loop_forgets_its_start():
    task = MultiHop(hops=2)
    sizes = dict(vocab_size=task.vocab_size, block_size=task.block_size)
    forgets, keeps = build(**sizes), build(**sizes, injection="none", norm="pre")
    forgets.loop = lambda h, e, t, where, cache=None: 0.5 * h + e
    keeps.loop = lambda h, e, t, where, cache=None: h
    assert huginn.ends(forgets, task, seed=0)[0] == pytest.approx(1, abs=1e-5)
    assert abs(huginn.ends(keeps, task, seed=0)[0]) < 0.1
    assert huginn.ends(keeps, task, seed=0) == huginn.ends(keeps, task, seed=0)


def test_an_exit_that_costs_accuracy_or_comes_at_the_end_is_no_exit():
    names = ("h, 1 hops, loops at exit", "h, 6 hops, loops at exit", "h, 6 hops, right at exit")
    for few, many, right, expected in (
        (3, 8, 0.99, True),
        (3, 8, 0.9, False),
        (8, 3, 0.99, False),
        (3, 40, 1.0, False),
    ):
        found = [dict(zip(names, (few, many, right))) | {"h, 6 hops by loop": [0.0, 1.0]}]
        assert huginn.exits(found, "h") == expected


def test_the_starts_come_from_the_seed():
    torch.manual_seed(5)
    task, model = MultiHop(hops=2), build(vocab_size=24 + 4 + 1, block_size=4, state_init="noise")
    first = huginn.ends(model, task, seed=1)
    torch.manual_seed(6)
    assert huginn.ends(model, task, seed=1) == first != huginn.ends(model, task, seed=2)
