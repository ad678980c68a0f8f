"""The diagonal injection against its formula, and the preset that picks the model."""

import math

import pytest
import torch
from helpers import TINY, build, gradients, main, paper, tokens
from torch.nn import functional as F

from train import load_model

parcae = paper("parcae")


def built(**changes):
    return build(model=parcae.Parcae, config=parcae.ParcaeConfig, **changes)


def test_it_starts_as_in_the_paper():
    inject = parcae.DiagonalInjection(8)
    assert torch.allclose(inject.decay(), torch.full((8,), math.sqrt(1 / 5)))
    assert torch.allclose(inject.step(), torch.full((8,), math.log(math.sqrt(5))))
    h, e = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    expected = math.sqrt(1 / 5) * h + math.log(math.sqrt(5)) * e
    assert torch.allclose(inject(h, e), expected, atol=1e-5)


def test_the_loop_is_the_formula_written_out():
    model = built(norm="pre")
    inject = model.inject
    h, e, positions = model.begin(tokens())
    step = torch.log(1 + torch.exp(inject.raw_step))
    decay = torch.exp(-step * torch.exp(inject.log_rate))
    expected = model.core[0](decay * h + step * (e @ inject.weight.T), positions)
    assert torch.allclose(model.loop(h, e, 0, positions), expected, atol=1e-5)
    found = gradients(model, model.loss(tokens(), tokens(2), 3)[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize("size", [-30.0, 0.0, 3.0])
def test_whatever_it_learns_the_state_cannot_grow(size):
    inject = parcae.DiagonalInjection(8)
    with torch.no_grad():
        inject.raw_step.fill_(size), inject.log_rate.fill_(size)
    assert (inject.decay() > 0).all() and (inject.decay() <= 1).all()
    h = torch.randn(4, 8)
    assert (inject(h, torch.zeros(4, 8)).norm(dim=1) <= h.norm(dim=1)).all()
    assert F.softplus(torch.tensor(size)) > 0


def test_the_preset_picks_it_and_injection_is_no_flag(elsewhere, capsys):
    main(["--task", "multihop", "--preset", "parcae", *TINY])
    model, _, flags = load_model("runs/multihop")
    assert type(model).__name__ == "Parcae" and flags.model == "parcae"
    assert model.config.injection == "diagonal" and flags.sampler == "poisson"
    with pytest.raises(SystemExit):
        main(["--task", "multihop", "--preset", "parcae", "--injection", "add", *TINY])
    assert "--injection has no meaning for --model parcae" in capsys.readouterr().err
