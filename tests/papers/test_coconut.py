"""Latent thoughts against a text that is read again from its beginning for each of them."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from looped import LoopedGPT
from tasks import IGNORE

module = paper("coconut")


def small(**changes):
    changes = dict(loops=1, position="relative", n_core=2) | changes
    return build(model=module.Coconut, config=module.CoconutConfig, **changes)


def read(model, h):
    positions = model.positions(h)
    for block in model.core:
        h = block(h, positions)
    return h


@pytest.mark.parametrize(
    "position, now", [("relative", 3), ("rope", 3), ("none", 1), ("relative", 2)]
)
def test_a_thought_is_a_token_whose_embedding_is_the_last_state(position, now):
    model = small(position=position)
    model.now = now
    _, e, _ = LoopedGPT.begin(model, tokens())
    x = e + e
    for place in range(4, 4 + now):  # of 7 tokens, the last three are places for thoughts
        h = read(model, x)  # all of it again, nothing is kept
        x = torch.cat((x[:, :place], h[:, place - 1 : place], x[:, place + 1 :]), dim=1)
    h = read(model, x)
    assert torch.allclose(model(tokens()), model.head(h), atol=1e-5)


@pytest.mark.parametrize("feedback", [True, False])
def test_what_stands_in_their_places_is_not_read(feedback):
    changed = tokens().clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 11
    model = small(feedback=feedback, loops=2)
    assert torch.equal(model(changed), model(tokens()))
    model.now = 2
    assert torch.equal(model(changed)[:, :6], model(tokens())[:, :6]) and not torch.equal(
        model(changed), model(tokens())
    )


@pytest.mark.parametrize("feedback", [True, False])
def test_the_loss_asks_for_what_is_still_written(feedback, monkeypatch):
    model, seen = small(feedback=feedback), set()
    inner = LoopedGPT.loss
    monkeypatch.setattr(
        LoopedGPT,
        "loss",
        lambda self, t, targets, n: (
            seen.add((self.now, *targets[0].tolist())) or inner(self, t, targets, n)
        ),
    )
    targets = torch.tensor([[IGNORE] * 3 + [5, 6, 7, 8]]).expand(5, -1)
    for seed in range(30):
        torch.manual_seed(seed)
        loss, _ = model.loss(tokens(), targets)
    whole = [IGNORE] * 3 + [5, 6, 7, 8]
    assert (
        seen == {(now, *([IGNORE] * (3 + now) + whole[3 + now :])) for now in range(4)}
        and model.now == 3
    )
    found = gradients(
        model, torch.stack([model.loss(tokens(), targets)[0] for _ in range(9)]).sum()
    )
    assert all(each.abs().sum() > 0 for each in found.values()) and ("pauses" in found) == (
        not feedback
    )
