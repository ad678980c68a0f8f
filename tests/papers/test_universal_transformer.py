"""ACT against a loop by hand over one position at a time; without it, the plain loop is left."""

import math

import pytest
import torch
from helpers import B, T, build, gradients, paper, tokens

from looped import LoopedGPT, settle

universal = paper("universal_transformer")


def built(**changes):
    return build(model=universal.UniversalTransformer, config=universal.UniversalConfig, **changes)


def by_hand(model, asked, loops):
    """The averaged states (B, T, C) and the loops of each position (B, T), as in Graves 2016."""
    h, e, positions = LoopedGPT.begin(model, asked)
    signal = torch.zeros(T, h.shape[-1])
    running = [[True] * T for _ in range(B)]
    history = [[[] for _ in range(T)] for _ in range(B)]
    for t in range(1, loops + 1):
        for place in range(T):
            for channel in range(h.shape[-1] // 2):
                wave = 10000 ** (2 * channel / h.shape[-1])
                signal[place, channel] = math.sin(place / wave) + math.sin(t / wave)
                signal[place, channel + h.shape[-1] // 2] = math.cos(place / wave) + math.cos(
                    t / wave
                )
        after = LoopedGPT.loop(model, h + signal, e, t - 1, positions)
        h = h.clone()
        for row in range(B):
            for place in range(T):
                if running[row][place]:
                    h[row, place] = after[row, place]
                    p = model.halt(after[row, place]).sigmoid().item()
                    history[row][place].append((p, after[row, place]))
                    running[row][place] = sum(p for p, _ in history[row][place]) <= 0.99
    average = torch.zeros_like(h)
    for row in range(B):
        for place in range(T):
            *earlier, (_, last) = history[row][place]
            average[row, place] = (
                sum(p * state for p, state in earlier) + (1 - sum(p for p, _ in earlier)) * last
            )
    used = torch.tensor([[len(each) for each in row] for row in history])
    return average, used


@pytest.mark.parametrize("loops", [1, 3, 9])
@pytest.mark.parametrize("halt_bias", [-1.0, 0.0])
def test_it_is_the_average_of_graves(loops, halt_bias):
    model, asked = built(halt_bias=halt_bias), tokens()
    with torch.no_grad():
        average, used = by_hand(model, asked, loops)
        state = model.think(asked, loops)
        assert torch.allclose(model.readout(state), model.head(average), atol=1e-4)
    assert torch.equal(model.parts(state).loops[..., 0].long(), used)
    assert loops < 9 or len(used.unique()) > 1


def test_the_loss_has_the_loops_and_what_is_left_of_one():
    model, asked = built(halt_bias=-1.0, ponder=0.3), tokens()
    loss, _ = model.loss(asked, asked, 6)
    state = model.think(asked, 6)
    entropy = torch.nn.functional.cross_entropy(model.readout(state).flatten(0, 1), asked.flatten())
    _, used = by_hand(model, asked, 6)
    left = 1 - model.parts(state).spent[..., 0]
    assert loss.item() == pytest.approx((entropy + 0.3 * (used + left).mean()).item(), abs=1e-4)
    found = gradients(model, loss)
    assert all(each.abs().sum() > 0 for each in found.values())


def test_without_act_and_signals_it_is_the_plain_loop():
    model, asked = built(act=False, signals=False), tokens()
    twin = LoopedGPT(model.config)
    twin.load_state_dict(model.state_dict(), strict=False)
    assert torch.allclose(model(asked, 5), twin(asked, 5), atol=1e-6)


def test_the_rule_stops_where_the_last_answer_halts():
    model, asked = built(), tokens()
    mask = torch.zeros_like(asked, dtype=torch.bool)
    mask[:, -2:] = True
    with torch.no_grad():
        logits, used = model.solve(asked, rule="halt", max_loops=40, answer_mask=mask)
        average, halted = by_hand(model, asked, 40)
    assert torch.equal(used, halted[:, -2:].amax(1)) and len(used.unique()) > 1
    assert torch.allclose(logits[mask], model.head(average)[mask], atol=1e-4)


def test_only_the_state_itself_is_measured():
    model, asked = built(), tokens()
    states = model.trajectory(asked, 3)
    before, h = (model.parts(state).h.flatten(1) for state in states[-2:])
    everywhere = torch.ones_like(asked, dtype=torch.bool)
    moved = settle(model, states[-2], states[-1], everywhere, None)
    assert torch.allclose(moved, (h - before).norm(dim=1) / h.norm(dim=1))
