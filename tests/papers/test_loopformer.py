"""LoopFormer against its formulas, written out loop by loop, and the routes counted by hand."""

import math
from collections import Counter

import pytest
import torch
from helpers import build, gradients, paper, tokens
from torch.nn import functional as F

from looped import IGNORE

loopformer = paper("loopformer")


def built(**changes):
    changes = dict(loops=6) | changes
    return build(model=loopformer.LoopFormer, config=loopformer.LoopFormerConfig, **changes)


def told(clock, number):
    """The vector of a number, from the sines one by one."""
    angles = [number / 10000 ** (i / 128) for i in range(128)]
    waves = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles])
    first, _, last = clock.net
    hidden = first.weight @ waves + first.bias
    return last.weight @ (hidden / (1 + torch.exp(-hidden))) + last.bias


def end_of(model, question, steps):
    """Where a route of one question ends; a step is a fraction of the way."""
    h, _, positions = model.begin(question)
    time = 0.0
    for step in steps:
        c = told(model.time, time) + told(model.step, step)
        for block in model.core:
            m = block.modulate.weight @ (c * torch.sigmoid(c)) + block.modulate.bias
            gates, scales = m[:32].view(2, 16), m[32:].view(2, 16)
            branches = (
                (lambda x, block=block: block.attention(x, positions), block.before_attention),
                (block.mlp, block.before_mlp),
            )
            for gate, scale, (branch, norm) in zip(gates, scales, branches):
                length = h.pow(2).mean(-1, keepdim=True).sqrt()
                h = h + gate * branch(h / length * norm.weight * (1 + scale))
        time += step
    return h


@pytest.mark.parametrize(
    "budget, units",
    [(1, [6]), (2, [3, 3]), (4, [2, 2, 1, 1]), (6, [1] * 6), (8, [1] * 8)],
)
def test_a_budget_is_a_route_of_equal_steps(budget, units):
    model, asked = built(n_core=2), tokens()
    assert model.route(torch.tensor([budget, 1])).tolist()[0] == units
    expected = torch.cat([end_of(model, row[None], [u / 6 for u in units]) for row in asked])
    assert torch.allclose(model.think(asked, budget), expected, atol=1e-4)
    assert torch.allclose(model(asked, budget), model.readout(expected), atol=1e-4)


def test_each_sequence_has_its_own_budget():
    model, asked, budgets = built(), tokens(), torch.tensor([3, 6, 1, 7, 2])
    together = model.think(asked, budgets)
    alone = [model.think(row[None], int(n)) for row, n in zip(asked, budgets)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_the_long_route_is_the_loop_of_looped():
    model, asked = built(), tokens()
    h, e, positions = model.begin(asked)
    for t in range(6):
        h = model.loop(h, e, t, positions)
    assert torch.allclose(model.think(asked), h, atol=1e-5)


def test_the_loss_is_the_sum_written_out():
    model, asked = built(short=0.3), tokens()
    targets = asked.masked_fill(torch.arange(asked.shape[1]) < 4, IGNORE)
    torch.manual_seed(5)
    loss, prediction = model.loss(asked, targets)
    found = gradients(model, loss)
    torch.manual_seed(5)
    steps = [units / 6 for units in loopformer.shortcut(6).tolist()]
    long = torch.cat([end_of(model, row[None], [1 / 6] * 6) for row in asked])
    short = torch.cat([end_of(model, row[None], steps) for row in asked])

    def nats(h):
        return F.cross_entropy(model.readout(h)[:, 4:].flatten(0, 1), asked[:, 4:].flatten())

    apart = (model.norm(short) - model.norm(long).detach()).pow(2).mean()
    straight = nats(long) + 0.3 * (nats(short) + apart)
    assert len(steps) < 6 and torch.allclose(loss, straight, atol=1e-4)
    assert torch.equal(prediction, model.readout(long).argmax(-1))
    expected = gradients(model, straight)  # none through the end of the long route
    assert all(torch.allclose(found[name], expected[name], atol=1e-4) for name in found)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_every_short_route_comes_to_the_end():
    torch.manual_seed(0)
    routes = [tuple(loopformer.shortcut(4).tolist()) for _ in range(600)]
    possible = {(4,), (1, 3), (2, 2), (3, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1)}
    assert {*routes} == possible
    share = Counter(len(route) for route in routes)
    assert all(150 < share[steps] < 250 for steps in (1, 2, 3))


def test_what_is_not_told_makes_no_difference():
    model, asked = built(told=False), tokens()
    h, e, positions = model.begin(asked)
    early, late = (model.loop(h, e, t, positions) for t in (0, 5))
    assert torch.equal(early, late)
    model.config.told = True
    assert not torch.allclose(early, model.loop(h, e, 5, positions))


def test_at_first_a_loop_changes_nothing():
    torch.manual_seed(0)
    model = loopformer.LoopFormer(loopformer.LoopFormerConfig(vocab_size=11, n_embd=16, n_head=2))
    states = model.trajectory(tokens(), 3)
    assert torch.equal(states[0], states[3])


def test_what_it_cannot_be_is_refused():
    for wrong in (dict(tied=False), dict(norm="post")):
        with pytest.raises(ValueError, match="one core, with pre-norm"):
            built(**wrong)
