"""Layers that are run again, against the same layers written out one after the other."""

import pytest
import torch
from helpers import build, paper, tokens

duplication = paper("layer_duplication")


def small(**settings):
    return build(model=duplication.DuplicationGPT, config=duplication.DuplicationConfig, loops=5, **settings)


def written_out(model, order):
    """Logits after the layers of a list, by number."""
    h, e, where = model.begin(tokens())
    for layer in order:
        h = model.core[layer](model.inject(h, e), where)
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
    assert torch.allclose(model(tokens(), 5), written_out(model, [0, 1, 2, 1, 2, 1, 2, 3, 4]), atol=1e-5)


def test_half_steps():
    model = small(first=1, last=2, times=2, damping=0.5, injection="none", norm="pre")
    h, e, where = model.begin(tokens())
    h = model.core[0](h, where)
    for _ in range(2):
        h = (h + model.core[2](model.core[1](h, where), where)) / 2
    h = model.core[4](model.core[3](h, where), where)
    assert torch.allclose(model(tokens(), 5), model.readout(h), atol=1e-5)


def test_the_map_has_each_span_in_its_place():
    module = duplication

    class Task:
        def check(self, batch, prediction):
            return prediction

    class Batch:
        tokens = None

    class Model:
        config = module.DuplicationConfig(vocab_size=4, block_size=4)

        def __call__(self, asked, loops):
            spans = [float(self.config.times == 2 and (self.config.first, self.config.last) == (2, 4)), 0.5]
            return torch.tensor([[1 - spans[0], spans[0]], [1.0, 0.0]])

    found = module.changes(Model(), Task(), Batch(), 0.5)
    assert [span for span, change in zip(module.SPANS, found) if change] == [(2, 4)] and max(found) == 0.5
    assert (Model.config.times, Model.config.damping) == (1, 1.0)
