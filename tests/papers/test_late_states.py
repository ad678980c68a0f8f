"""The loss from a late state against the plain model, and how often it begins there."""

from collections import Counter

import pytest
import torch
from helpers import VOCAB, build, gradients, paper, tokens
from torch.nn import functional as F

from looped import LoopedGPT

module = paper("late_states")


def small(**changes):
    return build(model=module.LateStates, config=module.LateConfig, **changes)


@pytest.mark.parametrize("loss", ("final", "every"))
def test_the_loss_begins_where_the_plain_loop_is_after_many_loops(loss):
    model, plain = small(late=1.0, least_late=5, most_late=5, loss=loss), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    loops, targets = [3, 1, 2, 3, 3], tokens(2)
    expected = 0
    for row, count in enumerate(loops):
        question = tokens()[row : row + 1]
        h = plain.trajectory(question, 5)[-1].detach()
        states = list(plain.states(question, count, h=h))[1:]
        states += [states[-1]] * (3 - count)  # a sequence that is done counts again
        for state in states if loss == "every" else states[-1:]:
            nats = F.cross_entropy(plain.readout(state)[0], targets[row])
            expected = expected + nats / 5 / (3 if loss == "every" else 1)
    wanted = gradients(plain, expected)
    found, prediction = model.loss(tokens(), targets, torch.tensor(loops))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(prediction, plain(tokens(), torch.tensor(loops) + 5).argmax(-1))
    assert all(
        torch.allclose(each, wanted[name], atol=1e-5)
        for name, each in gradients(model, found).items()
    )


@pytest.mark.parametrize("loss", ("final", "every"))
def test_the_other_batches_are_as_they_were(loss):
    model, plain = small(late=0.0, loss=loss), build(model=LoopedGPT, loss=loss)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.loss(tokens(), tokens(2), 3)[0], plain.loss(tokens(), tokens(2), 3)[0])


def test_a_fifth_of_the_batches_begins_late_and_the_counts_double():
    model, counts = small(least_late=3, most_late=25), []
    model.think = lambda tokens, loops, h=None: counts.append(loops) or model.begin(tokens)[0]
    torch.manual_seed(0)
    for _ in range(1000):
        model.loss(tokens(rows=1), tokens(2, rows=1), torch.tensor([1]))
    late = Counter(loops for loops in counts if isinstance(loops, int))
    assert sorted(late) == [3, 6, 12, 24] and 150 < sum(late.values()) < 250
    assert min(late.values()) > 25


def test_the_draws_are_those_of_the_seed():
    model = small(late=0.5)

    def losses(seed):
        torch.manual_seed(seed)
        return [model.loss(tokens(), tokens(2), 2)[0].item() for _ in range(8)]

    assert losses(1) == losses(1) != losses(2)


def test_refusals():
    for changes in (dict(late=1.5), dict(least_late=0), dict(most_late=11), dict(tied=False)):
        with pytest.raises(ValueError):
            small(**changes)
    assert small().config.vocab_size == VOCAB
