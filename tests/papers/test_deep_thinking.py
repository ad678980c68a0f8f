"""The progressive loss against two calls of the plain model."""

import pytest
import torch
from helpers import VOCAB, build, gradients, paper, tokens
from torch.nn import functional as F

from looped import LoopedGPT

module = paper("deep_thinking")


def small(**changes):
    return build(model=module.DeepThinking, config=module.DeepThinkingConfig, **changes)


def drawn(m, seed):
    """n and k of each sequence, as the paper draws them: n of 0..m - 1, k of 1..m - n."""
    torch.manual_seed(seed)
    n = [int(u * count) for u, count in zip(torch.rand(len(m)).tolist(), m)]
    k = [
        1 + int(u * (count - before)) for u, count, before in zip(torch.rand(len(m)).tolist(), m, n)
    ]
    return n, k


@pytest.mark.parametrize("alpha, injection", ((1.0, "add"), (0.3, "concat"), (1.0, "none")))
def test_each_sequence_alone_starts_from_where_it_is_after_n_loops(alpha, injection):
    model, m, targets = small(alpha=alpha, injection=injection), [1, 6, 6, 6, 4], tokens(2)
    n, k = drawn(m, seed=3)
    assert 0 in n and max(n) > 0
    expected = 0
    for row, whole, before, loops in zip(range(5), m, n, k):
        question, answer = tokens()[row : row + 1], targets[row]
        start = list(model.states(question, before))[-1].detach() if before else None
        state = list(model.states(question, loops, h=start))[-1]
        expected = expected + alpha * F.cross_entropy(model.readout(state)[0], answer) / 5
        if alpha < 1:
            expected = (
                expected + (1 - alpha) * F.cross_entropy(model(question, whole)[0], answer) / 5
            )
    wanted = gradients(model, expected)
    torch.manual_seed(3)
    loss, _ = model.loss(tokens(), targets, torch.tensor(m))
    assert torch.allclose(loss, expected, atol=1e-5)
    assert all(
        torch.allclose(each, wanted[name], atol=1e-5)
        for name, each in gradients(model, loss).items()
    )


def test_alpha_zero_is_the_loop_as_it_was():
    model, plain = small(alpha=0.0), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.loss(tokens(), tokens(2), 3)[0], plain.loss(tokens(), tokens(2), 3)[0])
    with pytest.raises(ValueError, match="alpha"):
        small(alpha=1.5)
    assert small().config.vocab_size == VOCAB
