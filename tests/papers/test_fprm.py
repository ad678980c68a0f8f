"""The scaled loop against its formula, and the halting against a loop written out."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

module = paper("fprm")


def small(**changes):
    return build(model=module.FixedPointReasoner, config=module.FixedPointConfig, **changes)


def one_loop(model, h, e, positions):
    """The loop with the share that every branch has in its result, counted from the end."""
    a, c = model.keep_layer.sigmoid(), model.keep_loop.sigmoid()
    N = 2 * len(model.core)
    d = 1 - c * a**N
    b = d / sum(a**i for i in range(N))
    x, parts = c * h + d * e, []
    for block in model.core:
        for norm, branch in (
            (block.before_attention, lambda x, f=block.attention: f(x, positions)),
            (block.before_mlp, block.mlp),
        ):
            now = a ** len(parts) * x + sum(
                a ** (len(parts) - 1 - i) * part for i, part in enumerate(parts)
            )
            parts.append(b * branch(norm(now)))
    return a**N * x + sum(a ** (N - 1 - i) * part for i, part in enumerate(parts))


@pytest.mark.parametrize("n_core", (1, 2))
def test_the_scaled_loop_is_that_of_the_formula(n_core):
    model = small(n_core=n_core, keep_layer=0.6, keep_loop=0.3)
    h, e, positions = model.begin(tokens())
    h = model.proper_state(h)
    found = model.scaled_loop(h, e, positions)
    assert torch.allclose(found, one_loop(model, h, e, positions), atol=1e-5)


def test_the_shares_start_where_they_should_and_learn():
    torch.manual_seed(0)
    model = module.FixedPointReasoner(small().config)
    assert torch.allclose(model.keep_layer.sigmoid(), torch.full((16,), 0.75))
    assert torch.allclose(model.keep_loop.sigmoid(), torch.full((16,), 0.25))
    model = small()
    found = gradients(model, model.loss(tokens(), tokens(2), torch.tensor([3, 1, 2, 3, 3]))[0])
    assert all(gradient.any() for gradient in found.values())


def swinging(model):
    """The same, but every loop turns the state around and further away from rest."""
    model.scaled_loop = lambda h, e, positions: e - 1.5 * h
    return model


def by_hand(f, h, loops, damping):
    """How far each loop would move a single sequence, and its steps, as plain numbers."""
    step, least, patience, told = 1.0, float("inf"), 5, []
    for _ in range(loops):
        z = f(h)
        moved = max(((b - a).abs().max() / b.abs().max()).item() for a, b in zip(h[0], z[0]))
        h = step * z + (1 - step) * h
        told.append((moved, step))
        patience = 5 if moved < least else patience - 1
        least = min(least, moved)
        if patience <= 0 and moved >= 0.1:
            patience, step = 5, step * damping
    return h, told


def test_steps_become_smaller_where_there_is_no_progress():
    model = swinging(small(damping=0.9)).double()
    for row in range(3):
        question = tokens()[row : row + 1]
        start, e, positions = model.begin(question)
        h, told = by_hand(lambda h: e - 1.5 * h, model.proper_state(start), 24, 0.9)
        states = list(model.states(question, 24))[1:]
        found = [(model.parts(each).moved[0, 0].item(), each[0, 0, -1].item()) for each in states]
        assert torch.allclose(model.proper_state(states[-1]), h, atol=1e-5)
        assert [moved for moved, _ in found] == pytest.approx([moved for moved, _ in told], 1e-3)
        assert [step for _, step in found[:-1]] == [step for _, step in told[1:]]
        assert {1.0, 0.9, 0.9 * 0.9} <= {step for _, step in told}


def test_a_sequence_halts_when_no_position_moves():
    model = small()
    logits, loops = model.solve(tokens(), rule="rest", max_loops=40)
    for row, taken in enumerate(loops.tolist()):
        start, e, positions = model.begin(tokens()[row : row + 1])
        h, told = by_hand(
            lambda h, e=e: model.scaled_loop(h, e, positions), model.proper_state(start), 40, 0.99
        )
        assert taken == 1 + [moved < 0.1 for moved, _ in told].index(True)
    assert loops.max() < 40


def test_refusals():
    for changes in (dict(keep_loop=1.0), dict(damping=0.0), dict(norm="post"), dict(tied=False)):
        with pytest.raises(ValueError):
            small(**changes)
