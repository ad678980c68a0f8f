"""The state on the simplex against the formula, written out position by position in numbers."""

import math

import pytest
import torch
from helpers import VOCAB, build, gradients, paper, tokens
from torch.nn import functional as F

module = paper("simplex")


def small(**changes):
    return build(model=module.Simplex, config=module.SimplexConfig, **changes)


def by_hand(model, question, loops):
    """The states (T, width) of one question, each made of the one before."""
    config = model.config
    e = model.prelude_norm(model.embed(question))
    positions = model.positions(e[None])
    given = [int(token) if config.pinned and token else None for token in question]

    def pinned(rows):
        for row, token in zip(rows, given):
            if token is not None:
                row[:] = [float(i == token) for i in range(model.width)]
        return torch.tensor(rows)

    states = [pinned([[1 / model.width] * model.width for _ in question])]
    for _ in range(loops):
        p = states[-1]
        x = p @ model.read.weight.T + e
        for block in model.core:
            x = block(x[None], positions)[0]
        logits = (model.norm(x) @ model.say.weight.T).tolist()
        rows = []
        for row in logits:
            powers = [math.exp(15 * math.tanh(each / 15)) for each in row]
            rows.append([each / sum(powers) for each in powers])
        states.append((1 - config.step) * p + config.step * pinned(rows))
    return states


@pytest.mark.parametrize("settings", ({}, dict(registers=False), dict(pinned=True, step=0.4)))
@torch.no_grad()
def test_a_loop_is_the_formula_written_out(settings):
    model = small(n_core=2, **settings)
    model.say.weight.mul_(20)  # so that the cap and the softmax matter
    for row, question in enumerate(tokens()):
        found = model.trajectory(tokens(), 4)[:, row]
        assert torch.allclose(found, torch.stack(by_hand(model, question, 4)), atol=1e-5)
    width = VOCAB if settings.get("registers") is False else 16
    assert found.shape[-1] == width and found[-1].max() > 0.3


@pytest.mark.parametrize("pinned", (True, False))
@torch.no_grad()
def test_the_state_is_the_prediction_and_never_leaves_its_set(pinned):
    model, asked = small(pinned=pinned), tokens()
    asked[:, :3] = 0
    for size in (1, 1e4):  # also with weights that saturate everything
        for weight in (model.read.weight, model.say.weight):
            weight.mul_(size)
        for p in model.states(asked, 6):
            assert (p >= 0).all() and torch.allclose(p.sum(-1), torch.ones(()), atol=1e-5)
            said = model.readout(p).softmax(-1)
            outputs = p[..., :VOCAB]
            assert torch.allclose(said, outputs / outputs.sum(-1, keepdim=True), atol=1e-5)
            sure = (p == F.one_hot(asked, 16)).all(-1)
            assert torch.equal(sure, (asked != 0) & pinned)


@pytest.mark.parametrize("loss", ("final", "every"))
def test_the_loss_is_that_of_the_answers_and_of_the_steps_that_are_left(loss):
    model, asked = small(pinned=True, loss=loss, still=3.0), tokens()
    asked[:, ::2] = 0
    targets = torch.where(asked == 0, tokens(2), -100)
    nats, still = [], []
    for question, target in zip(asked, targets.tolist()):
        states = by_hand(model, question, 3)
        for before, p in zip(states, states[1:]):
            q = (p - 0.3 * before) / 0.7
            still += (q - before).pow(2).sum(-1).tolist()
        for p in states[1:] if loss == "every" else states[-1:]:
            for row, answer in zip(p.tolist(), target):
                if answer != -100:
                    nats.append(-math.log(row[answer] / sum(row[:VOCAB])))
    expected = sum(nats) / len(nats) + 3 * sum(still) / len(still)
    found, prediction = model.loss(asked, targets, 3)
    assert found.item() == pytest.approx(expected, rel=1e-5) and sum(still) / len(still) > 0.01
    assert torch.equal(prediction, model(asked, 3).argmax(-1))


def test_every_parameter_learns_where_cells_are_pinned_and_where_none_is():
    for pinned in (True, False):
        model, asked = small(pinned=pinned), tokens()
        asked[:, ::2] = 0
        targets = torch.where(asked == 0, tokens(2), -100)
        found = gradients(model, model.loss(asked, targets, torch.tensor([3, 1, 2, 3, 3]))[0])
        assert all(gradient.isfinite().all() and gradient.any() for gradient in found.values())


@torch.no_grad()
def test_it_halts_once_no_position_moves_by_more_than_a_half_percent():
    model = small(step=0.5)
    logits, loops = model.solve(tokens(), rule="rest", max_loops=50)
    for row, taken in enumerate(loops.tolist()):
        states = by_hand(model, tokens()[row], 50)
        moves = []
        for before, p in zip(states, states[1:]):
            changes = [sum((b - a).clamp(min=0).tolist()) for a, b in zip(before, p)]
            moves.append(max(changes))  # what the rising ones gain is what the others lose
        assert taken == 1 + [moved < 0.005 for moved in moves].index(True)
        assert torch.allclose(logits[row], model.readout(states[taken]), atol=1e-4)
    assert 3 < loops.min() and loops.max() < 50


def test_refusals():
    settings = [dict(step=0.0), dict(step=1.1), dict(still=-1.0), dict(n_embd=10)]
    settings += [dict(n_coda=1), dict(reembed=True), dict(state_init="zeros")]
    for changes in settings:
        with pytest.raises(ValueError):
            small(**changes)
    assert small(n_embd=10, registers=False).width == VOCAB
