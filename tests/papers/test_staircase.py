"""The staircase against a schedule written chunk by chunk."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from looped import LoopedGPT

module = paper("staircase")


def small(**changes):
    changes = dict(position="relative", chunk=2, passes=2, loops=5) | changes
    return build(model=module.Staircase, config=module.StaircaseConfig, **changes)


@pytest.mark.parametrize("chunk, passes", [(2, 2), (3, 1), (1, 4), (2, 9)])
def test_chunks_enter_and_leave_one_by_one(chunk, passes):
    model = small(chunk=chunk, passes=passes)
    start, e, _ = model.begin(tokens())
    h, inputs = list(start.split(chunk, dim=1)), list(e.split(chunk, dim=1))
    count = [0] * len(h)
    for step in range(len(h) + passes - 1):
        there = [i for i in range(len(h)) if i <= step and count[i] < passes]
        x = torch.cat([h[i] + inputs[i] for i in there], dim=1)
        x = model.core[0](x, model.positions(x))
        for i, part in zip(there, x.split([h[i].shape[1] for i in there], dim=1)):
            h[i], count[i] = part, count[i] + 1
    assert count == [passes] * len(h)
    steps = len(h) + passes - 1
    assert torch.allclose(model.think(tokens(), steps), torch.cat(h, dim=1), atol=1e-5)
    assert torch.equal(
        model.think(tokens(), steps + 3), model.think(tokens(), steps)
    )  # nothing is left to do


def test_with_one_chunk_it_is_the_ladder():
    model = small(chunk=7, passes=3)
    ladder = build(model=LoopedGPT, position="relative")
    ladder.load_state_dict(model.state_dict())
    assert torch.allclose(model(tokens(), 3), ladder(tokens(), 3), atol=1e-6)


def test_the_first_token_reaches_the_last_however_long_the_text():
    changed = tokens(length=31).clone()
    changed[:, 0] = (changed[:, 0] + 1) % 11
    model = small()
    ladder = build(model=LoopedGPT, position="window", reach=4)
    ladder.load_state_dict(model.state_dict())

    def moves(model, loops):
        return (model(changed, loops) - model(tokens(length=31), loops))[:, -1].abs().max() > 1e-7

    assert moves(model, 16) and not moves(model, 15) and not moves(ladder, 2)


def test_it_learns():
    model = small()
    found = gradients(model, model.loss(tokens(), tokens(2), torch.tensor([5, 5, 5, 5, 2]))[0])
    assert all(each.abs().sum() > 0 for each in found.values())
