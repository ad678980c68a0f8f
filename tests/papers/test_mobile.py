"""The order of the layers, against the layers written out."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from looped import Config, LoopedGPT

mobile = paper("mobile")


def small(**settings):
    return build(
        model=mobile.MobileGPT, config=mobile.MobileConfig, n_core=2, norm="pre", **settings
    )


def written_out(model, order):
    h, _, positions = model.begin(tokens())
    for letter in order:
        h = model.core["AB".index(letter)](h, positions)
    return model.readout(h)


@pytest.mark.parametrize(
    "order, loops, repeats",
    [("AB", 1, 1), ("ABABABAB", 4, 1), ("AABBAABB", 2, 2), ("AAAABBBB", 1, 4)],
)
def test_the_orders(order, loops, repeats):
    model = small(injection="none", loops=loops, repeats=repeats)
    assert torch.allclose(model(tokens()), written_out(model, order), atol=1e-4)


def test_once_it_is_the_loop_of_looped():
    model, plain = (
        small(loops=3),
        build(model=LoopedGPT, config=Config, n_core=2, norm="pre", loops=3),
    )
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens()), plain(tokens()))


def test_preludes_and_codas_run_once():
    model = small(injection="none", loops=1, repeats=2, n_prelude=1, n_coda=1)
    _, e, positions = model.begin(tokens())
    assert torch.allclose(
        e, model.prelude_norm(model.prelude[0](model.embed(tokens()), positions)), atol=1e-5
    )
    h = e
    for block in (model.core[0], model.core[0], model.core[1], model.core[1], model.coda[0]):
        h = block(h, positions)
    assert torch.allclose(model(tokens()), model.head(h), atol=1e-4)


def test_it_learns():
    model = small(loops=2, repeats=2)
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
    untied = small(injection="none", loops=2, repeats=2, tied=False)
    assert [*untied.core_of(1)] == [untied.core[i] for i in (2, 2, 3, 3)]


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        small(repeats=0)
