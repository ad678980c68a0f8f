"""Layers that are run again, against the same layers written out one after the other."""

import pytest
import torch
from helpers import build, paper, tokens

duplication = paper("layer_duplication")


def small(**settings):
    return build(
        model=duplication.DuplicationGPT, config=duplication.DuplicationConfig, loops=5, **settings
    )


def written_out(model, order):
    """Logits after the layers of a list, by number."""
    h, e, positions = model.begin(tokens())
    for layer in order:
        h = model.core[layer](model.inject(h, e), positions)
    return model.readout(h)


@pytest.mark.parametrize("settings", (dict(injection="none", norm="pre"), dict(injection="add")))
def test_spans_run_twice(settings):
    for first, last, order in (
        (0, 0, [0, 0, 1, 2, 3, 4]),
        (1, 3, [0, 1, 2, 3, 1, 2, 3, 4]),
        (4, 4, [0, 1, 2, 3, 4, 4]),
    ):
        model = small(first=first, last=last, times=2, **settings)
        assert torch.allclose(model(tokens(), 5), written_out(model, order), atol=1e-5)
    once = small(first=1, last=3, **settings)
    assert torch.allclose(once(tokens(), 5), written_out(once, range(5)), atol=1e-5)
    model = small(first=1, last=2, times=3, **settings)
    assert torch.allclose(
        model(tokens(), 5), written_out(model, [0, 1, 2, 1, 2, 1, 2, 3, 4]), atol=1e-5
    )


def test_half_steps():
    model = small(first=1, last=2, times=2, damping=0.5, injection="none", norm="pre")
    h, e, positions = model.begin(tokens())
    h = model.core[0](h, positions)
    for _ in range(2):
        h = (h + model.core[2](model.core[1](h, positions), positions)) / 2
    h = model.core[4](model.core[3](h, positions), positions)
    assert torch.allclose(model(tokens(), 5), model.readout(h), atol=1e-5)
