"""In-context regression: the loop and its loss against their formulas, and those who solve it otherwise."""

import pytest
import torch
from helpers import gradients, paper
from torch.nn import functional as F

looped, regression = paper("in_context_regression"), paper("regression")


def small(**settings):
    torch.manual_seed(0)
    return looped.RegressionGPT(looped.RegressionConfig(**{**dict(n_embd=16, n_head=2, loops=8, last=4), **settings}))


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
    start, e, where = model.begin(tokens)
    z = start
    for t in range(4):
        z = model.loop(z, e, t, where)
    z, losses = z.detach(), []
    for t in range(4, 8):
        z = model.loop(z, e, t, where)
        losses.append(F.mse_loss(model.readout(z)[:, 8:], y[:, 8:]))
    expected = gradients(model, sum(losses) / 4)
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) and found[name].any() for name in expected)


def test_prompts_hide_what_is_asked():
    tokens, y = regression.prompts(3, "val", 7, 50)
    assert torch.equal(tokens, regression.prompts(3, "val", 7, 50)[0])
    assert not torch.equal(tokens, regression.prompts(3, "test", 7, 50)[0])
    assert (tokens[:, 8:, 4] == 0).all() and torch.equal(tokens[:, :8, 4], y[:, :8])
    w = torch.linalg.lstsq(tokens[:, :8, :4].double(), y[:, :8, None].double()).solution
    assert torch.allclose((tokens[..., :4].double() @ w)[..., 0], y.double(), atol=1e-3)  # one w for a prompt


def test_the_references():
    tokens, y = regression.prompts(0, "test", 0, 20)
    assert regression.least_squares(tokens, y) < 1e-6
    rate, errors = 0.1, []
    for row, values in zip(tokens[:, :, :4], y):
        w = torch.zeros(4, requires_grad=True)
        for _ in range(3):
            (gradient,) = torch.autograd.grad(F.mse_loss(row[:8] @ w, values[:8]) / 2, w)
            w = (w - rate * gradient).detach().requires_grad_()
        errors.append(F.mse_loss(row[8:] @ w, values[8:]).item())
    assert regression.gradient_descent(tokens, y, 3, rate)[-1] == pytest.approx(sum(errors) / 20 / 4, rel=1e-4)
