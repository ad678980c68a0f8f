"""The router against one that picks token by token in Python; and who can see the future."""

import math

import pytest
import torch
from helpers import T, build, gradients, paper, tokens

from looped import LoopedGPT, settle

module = paper("mixture_of_recursions")


def small(**changes):
    changes = dict(position="window", n_prelude=1) | changes
    return build(model=module.Recursions, config=module.RecursionsConfig, **changes).eval()


def by_hand(model, text):
    """
    Logits and loops taken, with the choice of each loop made in Python. The chosen tokens are a
    shorter text of their own, which is how they see one another and nothing else.
    """
    h, e, positions = LoopedGPT.begin(model, text)
    running = [list(range(T)) for _ in text]
    taken = torch.zeros(text.shape)
    for t in range(model.config.loops):
        score = model.router(h)[..., t].sigmoid()
        h = h.clone()
        for row, going in enumerate(running):
            k = math.ceil(T * (model.config.loops - t) / model.config.loops)
            ranked = sorted(going, key=lambda i: -score[row, i].item())
            going[:] = sorted(ranked[:k])
            result = LoopedGPT.loop(model, h[row, None, going], e[row, None, going], t, positions)
            h[row, going] += 0.1 * score[row, going, None] * result[0]
            taken[row, going] += 1
    return model.head(h), taken


def test_the_best_of_those_still_in_loop_again_and_see_one_another():
    model = small(position="none")  # where tokens stand is not lost in the shorter text
    h = model.think(tokens())
    logits, taken = by_hand(model, tokens())
    assert torch.allclose(model.readout(h), logits, atol=1e-5)
    assert torch.equal(h[..., -2], taken)
    assert [int((taken > t).sum(1)[0]) for t in range(4)] == [7, 6, 4, 2]
    assert len(taken.unique(dim=0)) > 1


@pytest.mark.parametrize("route", ["depth", "threshold", "topk"])
def test_only_the_choice_among_all_tokens_sees_later_ones(route):
    model, leaks = small(route=route), []
    for last in range(11):
        changed = tokens(rows=40)
        changed[:, -1] = last
        leaks.append(
            not torch.allclose(model(changed)[:, :-1], model(tokens(rows=40))[:, :-1], atol=1e-6)
        )
    assert any(leaks) == (route == "topk")


def test_a_depth_is_chosen_once_and_balanced_depths_cost_one():
    model = small(route="depth")
    _, e, _ = LoopedGPT.begin(model, tokens())
    h = model.think(tokens())
    assert (
        torch.equal(h[..., -2], 1.0 + model.router(e).argmax(-1))
        and h[..., -2].unique().numel() > 1
    )
    e = torch.eye(4, 16).repeat(1, 3, 1)  # three tokens for each depth
    with torch.no_grad():
        model.router.weight.copy_(50 * torch.eye(4, 16)), model.router.bias.zero_()
    assert (
        model.token_choice(e, 0)[-1].item() == pytest.approx(1)
        and model.token_choice(e, 1)[-1] == 0
    )
    assert model.token_choice(e[:, :1], 0)[-1].item() == pytest.approx(4)  # all the same depth


def test_the_last_loop_of_a_depth_adds_to_the_state_before_the_first():
    model = small(route="depth", position="none")
    _, e, positions = LoopedGPT.begin(model, tokens())
    score, depth = model.router(e).softmax(-1).max(-1)
    h = e.clone()
    for t in range(4):
        before = h.clone()
        for row in range(len(h)):
            going = (depth[row] >= t).nonzero()[:, 0].tolist()
            if not going:
                continue
            asked = before[row, None, going], e[row, None, going]
            result = LoopedGPT.loop(model, *asked, t, positions)[0]
            for place, found in zip(going, result):
                is_last = depth[row, place] == t
                h[row, place] = e[row, place] + score[row, place] * found if is_last else found
    assert depth.unique().numel() > 1
    assert torch.allclose(model.readout(model.think(tokens())), model.head(h), atol=1e-5)


@pytest.mark.parametrize("route", ["topk", "depth"])
def test_the_router_learns(route):
    model = small(route=route)
    found = gradients(model, model.loss(tokens(), tokens(2), torch.tensor([4, 4, 4, 4, 2]))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize("length, loops", [(14, 7), (10, 5), (9, 3), (7, 4)])
def test_expert_choice_spends_what_is_counted_on(length, loops):
    taken = small(loops=loops).think(tokens(length=length))[..., -2]
    assert (taken.sum(1) == sum(-(-length * (loops - t) // loops) for t in range(loops))).all()


def test_the_counters_are_no_part_of_the_state_that_is_measured():
    model = small()
    states = model.trajectory(tokens(), 3)
    before, h = (state[..., :-2].flatten(1) for state in states[-2:])
    everywhere = torch.ones_like(tokens(), dtype=torch.bool)
    moved = settle(model, states[-2], states[-1], everywhere, None)
    assert torch.allclose(moved, (h - before).norm(dim=1) / h.norm(dim=1))
