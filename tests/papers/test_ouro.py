"""Ouro: its loss against the sum written out, and its gate rule against a loop by hand."""

import math

import pytest
import torch
from helpers import build, gradients, paper, tokens

from tasks import IGNORE

ouro = paper("ouro")


def built(**changes):
    return build(model=ouro.Ouro, config=ouro.OuroConfig, **changes)


def questions():
    asked = tokens()
    targets = asked.clone()
    targets[:, :4] = IGNORE
    targets[0, 5] = IGNORE
    return asked, targets


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("counts", [[3, 3, 3, 3, 3], [4, 1, 2, 3, 4]])
def test_the_loss_is_the_expected_one_less_the_entropy(beta, counts):
    model, (asked, targets) = built(beta=beta), questions()
    loss, prediction = model.loss(asked, targets, torch.tensor(counts))
    values = []
    for row, count in enumerate(counts):
        states = list(model.states(asked[row : row + 1], count))[1:]
        for place in (targets[row] != IGNORE).nonzero()[:, 0].tolist():
            left, value = 1.0, 0.0
            for t, h in enumerate(states, 1):
                stop = (
                    1.0 if t == count else torch.sigmoid(model.gate(model.norm(h[0, place]))).item()
                )
                nats = -model.readout(h)[0, place].log_softmax(-1)[targets[row, place]].item()
                p, left = left * stop, left * (1 - stop)
                value += p * nats + beta * p * math.log(p)
            values.append(value)
    assert len(values) == 14
    assert loss.item() == pytest.approx(sum(values) / len(values), abs=1e-5)
    assert torch.equal(prediction, model(asked, max(counts)).argmax(-1))


def test_the_entropy_may_be_that_of_the_mean_of_the_batch():
    model, (asked, targets) = built(beta=0.3, batch_prior=True), questions()
    rows = built(beta=0.0).loss(asked, targets, 4)[0].item()
    chances, left = [], torch.ones(14)
    for t, h in enumerate(list(model.states(asked, 4))[1:], 1):
        stop = model.gate(model.norm(h[targets != IGNORE]))[:, 0].sigmoid() if t < 4 else 1.0
        chances.append((left * stop).mean().item())
        left = left * (1 - stop)
    assert sum(chances) == pytest.approx(1)
    entropy = -sum(p * math.log(p) for p in chances)
    assert model.loss(asked, targets, 4)[0].item() == pytest.approx(rows - 0.3 * entropy, abs=1e-5)


def test_the_gradient_reaches_everything_and_nothing_is_infinite():
    model, (asked, targets) = built(), questions()
    found = gradients(model, model.loss(asked, targets, torch.tensor([4, 1, 2, 3, 4]))[0])
    assert all(each.isfinite().all() and each.abs().sum() > 0 for each in found.values())


@pytest.mark.parametrize("threshold", [0.7, 0.3, 0.05])
def test_the_gate_stops_where_a_loop_by_hand_does(threshold):
    model, (asked, targets) = built(), questions()
    mask = targets != IGNORE
    logits, used = model.solve(
        asked, rule="gate", threshold=threshold, max_loops=9, answer_mask=mask
    )
    for row in range(len(asked)):
        left = 1.0
        for t, h in enumerate(list(model.states(asked[row : row + 1], 9))[1:], 1):
            left *= 1 - min(model.stop(h)[0, place].item() for place in mask[row].nonzero()[:, 0])
            if left < threshold:
                break
        assert used[row] == t
        assert torch.allclose(logits[row], model.readout(h)[0], atol=1e-5)
    assert len(set(used.tolist())) > 1 or threshold == 0.7
