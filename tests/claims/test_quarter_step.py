"""What claims/quarter_step.py measures, against autograd, a grid, and another damped loop."""

from types import SimpleNamespace

import pytest
import torch
from helpers import build, tokens
from torch.nn import functional as F

from claims import quarter_step
from papers.equilibrium import Equilibrium, EquilibriumConfig
from tasks import IGNORE


def asked():
    targets = tokens(2)
    targets[:, ::3] = IGNORE
    return targets


def test_support_is_the_mean_of_the_answers():
    model = build()
    h = model.think(tokens(), 3)
    found = quarter_step.support(model, h, asked())
    for row, logits, targets in zip(found, model.readout(h), asked()):
        assert row.item() == pytest.approx(-F.cross_entropy(logits, targets).item(), abs=1e-5)


def test_slope_and_curvature_are_those_of_autograd():
    model, d = build().double(), torch.randn(*tokens().shape, 16, dtype=torch.float64)
    h = model.think(tokens(), 2).detach()
    A, Q = quarter_step.slope_and_curvature(quarter_step.gains_along(model, asked(), h, d))
    for row in range(len(h)):

        def loss(s, row=row):
            logits = model.readout(h[row : row + 1] + s * d[row : row + 1])[0]
            return -F.cross_entropy(logits, asked()[row])

        at = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(loss(at), at, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, at)
        assert A[row].item() == pytest.approx(slope.item(), rel=1e-4)
        assert Q[row].item() == pytest.approx(curvature.item() / 2, rel=1e-3)


def test_the_best_step_is_that_of_a_grid():
    generator = torch.Generator().manual_seed(0)
    A, Q = torch.randn(2, 200, generator=generator)
    grid = torch.linspace(0, 1, 1001)[:, None]
    wanted = grid[(A * grid + Q * grid**2).argmax(0), 0]
    assert (quarter_step.best_step(A, Q) - wanted).abs().max() < 1e-3
    assert 0 < wanted.eq(1).sum() < wanted.gt(0).sum() < 200


def test_a_failure_rises_at_first_and_ends_lower():
    A = torch.tensor([1.0, 1.0, 1.0, -1.0, 0.00005], dtype=torch.float64)
    Q = torch.tensor([-2.0, -8.0, -0.5, -1.0, -1.0], dtype=torch.float64)
    gains, failures, hurts, found = quarter_step.count(lambda s: A * s + Q * s**2)
    assert torch.allclose(found[0], A) and torch.allclose(found[1], Q)
    signs = quarter_step.told_signs(gains, A, Q)
    assert signs == dict(sign_by_slope=0.4, sign_by_both=1.0, moved=5)
    assert failures.tolist() == [True, True, False, False, True]
    assert hurts.tolist() == [True, True, False, True, True]
    assert (gains["1/4"] > 0).tolist() == [True, False, True, False, False]
    assert torch.allclose(
        gains["the rule"], torch.tensor([1 / 8, 1 / 32, 0.5, 0, 0]).double(), atol=1e-6
    )
    assert torch.allclose(gains["the better end"], torch.tensor([0, 0, 0.5, 0, 0]).double())


def test_a_random_direction_is_as_long_at_each_position():
    d = torch.randn(4, 5, 16) * torch.rand(4, 5, 1)
    along = quarter_step.random_like(d)
    assert torch.allclose(along.norm(dim=-1), d.norm(dim=-1), atol=1e-5)
    assert F.cosine_similarity(along, d, dim=-1).abs().mean() < 0.5


@pytest.mark.parametrize("step", (0.25, 1.0))
@torch.no_grad()
def test_a_run_in_small_steps_is_that_of_a_damped_loop(step, monkeypatch):
    monkeypatch.setattr(quarter_step, "MOST", 3)
    settings = dict(damping=1 - step, noise=0.0, state_init="embed")
    damped, plain, said = (
        build(model=Equilibrium, config=EquilibriumConfig, **settings),
        build(),
        [],
    )
    damped.embed.weight.normal_()  # so that predictions differ
    plain.load_state_dict(damped.state_dict())

    class Task:
        def check(self, batch, prediction):
            said.append(prediction)
            return prediction[:, 0] == 0

    loops, batch = round(3 / step), SimpleNamespace(tokens=tokens(rows=200))
    found = quarter_step.in_steps(plain, Task(), batch, 2, step)
    states = list(damped.states(batch.tokens, loops, h=plain.think(batch.tokens, 2)))[1:]
    wanted = torch.stack([damped.readout(h).argmax(-1) for h in states])
    assert len(found) == loops and (torch.stack(said) == wanted).float().mean() > 0.999
    assert found == pytest.approx([(each[:, 0] == 0).float().mean().item() for each in said])
    assert (wanted[0] != wanted[-1]).float().mean() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("behind", (1, 4))
def test_a_full_step_gains_what_one_loop_more_gains(behind):
    model = build().double()
    batch = SimpleNamespace(tokens=tokens(), targets=asked())
    rows = quarter_step.next_loop(SimpleNamespace(seed=0), model, batch, behind)
    before, after = (-model.loss(tokens(), asked(), behind + more)[0] for more in (0, 1))
    full = dict(direction=quarter_step.OWN, step=quarter_step.FULL, behind=behind)
    (gain,) = (row["gain"] for row in rows if full.items() <= row.items())
    assert gain == pytest.approx(1000 * (after - before).item(), rel=1e-3) and abs(gain) > 1
