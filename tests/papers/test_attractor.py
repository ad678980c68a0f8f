"""The implicit gradient against that through many unrolled loops, and what is kept for it."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from claims.attractor import kept

module = paper("attractor")


class Calm:
    """Loops that bring any two states nearer to each other."""

    def loop(self, h, e, t, positions):
        return 0.2 * super().loop(h, e, t, positions)


class Wild:
    """Loops that drive states apart."""

    def loop(self, h, e, t, positions):
        return 3 * h + super().loop(h, e, t, positions)


class CalmAttractor(Calm, module.Attractor):
    pass


class WildAttractor(Wild, module.Attractor):
    pass


def small(model=CalmAttractor, **changes):
    settings = dict(n_prelude=1, tolerance=1e-12, terms=60)
    return build(model=model, config=module.AttractorConfig, **{**settings, **changes}).double()


def both(**changes):
    """The same loop with its gradient at rest, and with that through all loops."""
    return small(**changes), small(terms=0)


def loss_and_gradients(model, loops):
    loss, _ = model.loss(tokens(), tokens(2), loops)
    return loss, gradients(model, loss)


def alike(one, other, tolerance):
    return all(torch.allclose(one[name], other[name], rtol=0, atol=tolerance) for name in one)


def test_the_loop_adds_what_its_branches_find_to_the_proposal():
    model = small(model=module.Attractor, gate_start=0.4)
    (block,), (h, e, positions) = model.core, model.begin(tokens())
    h = h + 1
    attention = block.attention(block.before_attention(h + e), positions)
    mlp = block.mlp(block.before_mlp(h + e + attention))
    share = 1 / (1 + (-model.gate).exp())
    assert torch.allclose(model.loop(h, e, 0, positions), e + share * (attention + mlp))
    torch.manual_seed(0)
    assert torch.allclose(module.Attractor(model.config).gate.sigmoid(), torch.full((16,), 0.4))


def test_the_gradient_is_that_through_many_loops():
    model, plain = both()
    (loss, found), (wanted_loss, wanted) = (loss_and_gradients(each, 80) for each in (model, plain))
    assert torch.allclose(loss, wanted_loss, atol=1e-10) and alike(found, wanted, 1e-9)
    short = small(terms=2)
    assert not alike(loss_and_gradients(short, 80)[1], wanted, 1e-4)


@pytest.mark.parametrize("terms", (1, 3))
def test_a_few_terms_are_the_gradient_through_the_last_loops(terms):
    """.. of a loop at rest. Only the injected e has a longer way, through all loops."""
    model, plain = both(terms=terms)
    plain.config.backprop_loops = terms
    found, wanted = (loss_and_gradients(each, 80)[1] for each in (model, plain))
    core = {name for name in found if name.startswith(("core", "positions", "gate"))}
    assert alike({name: found[name] for name in core}, wanted, 1e-9)


def test_memory_does_not_grow_with_the_loops():
    model, plain = both(tolerance=0.0)
    short, long, plain_short, plain_long = (
        kept(each, tokens(), tokens(2), loops) for each in (model, plain) for loops in (4, 40)
    )
    assert short == long < plain_short < plain_long / 5


def test_where_terms_grow_they_are_cut():
    """.. each sequence to the length of its own gradient, and the direction stays."""
    model = small(model=WildAttractor, terms=3)
    h, e, positions = model.begin(tokens())
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(h.shape, generator=generator, dtype=h.dtype) * torch.arange(5)[:, None, None]
    found = model.sum_of_terms(h, e.detach(), positions)(g)
    length, wanted, term = g.flatten(1).norm(dim=1), g, g
    start = h.detach().requires_grad_()
    for _ in range(2):
        (term,) = torch.autograd.grad(model.loop(start, e, 0, positions), start, term)
        assert (term.flatten(1).norm(dim=1)[1:] > 1.5 * length[1:]).all()
        term = torch.nn.functional.normalize(term.flatten(1)) * length[:, None]
        term = term.view_as(g)
        wanted = wanted + term
    assert torch.allclose(found, wanted) and not found[0].any() and length[0] == 0


def test_it_stops_at_rest():
    model, plain = both(tolerance=0.05)
    steps = plain.trajectory(tokens(), 30)
    moved = (steps[1:] - steps[:-1]).flatten(2).norm(dim=2) / steps[1:].flatten(2).norm(dim=2)
    last = int((moved < 0.05).all(1).int().argmax()) + 1
    assert 1 < last < 30
    with torch.no_grad():
        assert torch.allclose(model.think(tokens(), 30), steps[last])
        assert torch.allclose(model.think(tokens(), last - 1), steps[last - 1])
    assert torch.allclose(model.think(tokens(), 30), steps[last + 1])  # one more, with a gradient


def test_refusals():
    wrong = dict(
        terms=-1, tolerance=-1.0, backprop_loops=2, tied=False, gate_start=1.0, norm="post"
    )
    for name, value in wrong.items():
        with pytest.raises(ValueError):
            small(**{name: value})
    assert small(loss="every").config.loss == "final"
