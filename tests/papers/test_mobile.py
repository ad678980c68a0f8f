"""The order of the layers, against the layers written out."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from attention import Cache
from looped import Config, LoopedGPT

mobile = paper("mobile")


def small(**settings):
    return build(model=mobile.MobileGPT, config=mobile.MobileConfig, n_core=2, norm="pre", **settings)


def written_out(model, order):
    h, _, where = model.begin(tokens())
    for letter in order:
        h = model.core["AB".index(letter)](h, where)
    return model.readout(h)


@pytest.mark.parametrize("order", [order for order in mobile.ORDERS])
def test_the_orders(order):
    model = small(injection="none", **mobile.ORDERS[order])
    assert torch.allclose(model(tokens()), written_out(model, order), atol=1e-4)


def test_once_it_is_the_loop_of_looped():
    model, plain = small(loops=3), build(model=LoopedGPT, config=Config, n_core=2, norm="pre", loops=3)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens()), plain(tokens()))


def test_preludes_and_codas_run_once():
    model = small(injection="none", loops=1, repeats=2, n_prelude=1, n_coda=1)
    _, e, where = model.begin(tokens())
    assert torch.allclose(e, model.prelude_norm(model.prelude[0](model.embed(tokens()), where)), atol=1e-5)
    h = e
    for block in (model.core[0], model.core[0], model.core[1], model.core[1], model.coda[0]):
        h = block(h, where)
    assert torch.allclose(model(tokens()), model.head(h), atol=1e-4)


def test_it_learns_and_reads_token_by_token():
    model, cache = small(loops=2, repeats=2), Cache()
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
    parts = [model.decode(part, cache) for part in (tokens()[:, :3], tokens()[:, 3:])]
    assert torch.allclose(torch.cat(parts, dim=1), model(tokens()), atol=1e-4)


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        small(repeats=0)
