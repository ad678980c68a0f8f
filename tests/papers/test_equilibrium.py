"""The damped step against its formula."""

import pytest
import torch
from helpers import VOCAB, build, gradients, paper, tokens

from looped import LoopedGPT

module = paper("equilibrium")


def small(**changes):
    return build(model=module.Equilibrium, config=module.EquilibriumConfig, **changes)


def test_a_step_is_damped_and_shaken():
    model, plain = small(damping=0.3, noise=0.1), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(5)
    h = torch.randn_like(plain.begin(tokens())[0])  # the start, and the noise of two steps
    first, second = 0.1 * torch.randn_like(h), 0.1 * torch.randn_like(h)
    _, e, positions = plain.begin(tokens())
    for shake in (first, second):
        h = 0.3 * h + 0.7 * plain.core[0](h + e, positions) + shake
    torch.manual_seed(5)
    assert torch.allclose(model.think(tokens(), 2), h, atol=1e-5)


def test_without_damping_and_noise_it_is_the_loop_as_it_was():
    model, plain = small(damping=0, noise=0, state_init="embed"), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens(), 5), plain(tokens(), 5))
    assert all(
        gradient.any()
        for gradient in gradients(model, model.loss(tokens(), tokens(2), 3)[0]).values()
    )


def test_refusals():
    for changes in (dict(damping=1.0), dict(damping=-0.1), dict(noise=-1.0)):
        with pytest.raises(ValueError):
            small(**changes)
    assert small().config.state_init == "noise" and small().config.vocab_size == VOCAB
