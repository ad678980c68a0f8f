"""In-context regression: the loop and its loss against their formulas."""

import torch
from helpers import gradients, paper
from torch.nn import functional as F

from claims import regression

module = paper("in_context_regression")


def small(**settings):
    torch.manual_seed(0)
    sizes = dict(n_embd=16, n_head=2, loops=8, last=4)
    return module.RegressionGPT(module.RegressionConfig(**sizes | settings))


def by_hand(model, tokens, loops):
    """Predictions (B, T) after each loop: z_0 = 0, z <- f(z + x)."""
    x = tokens @ model.embed.weight.T
    z, said = torch.zeros_like(x), []
    for _ in range(loops):
        for block in model.core:
            z = block(z + x, model.positions(x))
        said.append((model.norm(z) @ model.out.weight.T)[..., 0])
    return said


def test_the_loop_and_its_loss():
    model, (tokens, y) = small(), regression.prompts(0, "train", 0, 6)
    said = by_hand(model, tokens, 8)
    for h, expected in zip(list(model.states(tokens, 8))[1:], said):
        assert torch.allclose(model.readout(h), expected, atol=1e-5)
    loss, last = model.loss(tokens, y)
    expected = sum(((each - y)[:, 8:] ** 2).mean() for each in said[4:]) / 4
    assert torch.allclose(loss, expected, atol=1e-5) and torch.allclose(last, said[-1], atol=1e-5)
    one, _ = small(last=0).loss(tokens, y)
    assert torch.allclose(one, ((said[-1] - y)[:, 8:] ** 2).mean(), atol=1e-5)


def test_the_first_loops_have_no_gradient():
    model, (tokens, y) = small(), regression.prompts(0, "train", 0, 6)
    found = gradients(model, model.loss(tokens, y)[0])
    z, e, positions = model.begin(tokens)
    for t in range(4):
        z = model.loop(z, e, t, positions)
    z, losses = z.detach(), []
    for t in range(4, 8):
        z = model.loop(z, e, t, positions)
        losses.append(F.mse_loss(model.readout(z)[:, 8:], y[:, 8:]))
    expected = gradients(model, sum(losses) / 4)
    assert all(
        torch.allclose(found[name], expected[name], atol=1e-5) and found[name].any()
        for name in expected
    )
