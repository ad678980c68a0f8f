"""The scales and gates of each loop, written out from the sines of its number."""

import math

import pytest
import torch
from helpers import build, gradients, paper, tokens

timestep = paper("timestep")


def built(**changes):
    return build(model=timestep.TimestepGPT, config=timestep.TimestepConfig, **changes)


def silu(x):
    return x / (1 + torch.exp(-x))


def vector_of(model, t):
    """c(t), from the sines one by one."""
    angles = [t / 10000 ** (i / 128) for i in range(128)]
    waves = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles])
    first, _, last = model.clock.net
    return last.weight @ silu(first.weight @ waves + first.bias) + last.bias


def one_loop(model, h, t, positions):
    for block in model.core:
        parts = block.modulate.weight @ silu(vector_of(model, t)) + block.modulate.bias
        g1, g2, s1, s2 = parts[:16], parts[16:32], parts[32:48], parts[48:]
        unit = h / h.pow(2).mean(-1, keepdim=True).sqrt() * block.before_attention.weight
        h = h + g1 * block.attention(unit * (1 + s1), positions)
        unit = h / h.pow(2).mean(-1, keepdim=True).sqrt() * block.before_mlp.weight
        h = h + g2 * block.mlp(unit * (1 + s2))
    return h


@torch.no_grad()
@pytest.mark.parametrize("told", (True, False))
def test_the_loops_are_the_formula_written_out(told):
    model = built(n_core=2, n_prelude=1, n_coda=1, told=told)
    h, _, positions = model.begin(tokens())
    for t in range(6):  # two more than in training
        assert torch.allclose(model.think(tokens(), t), h, atol=1e-4)
        assert torch.allclose(model(tokens(), t), model.readout(h), atol=1e-4)
        other = one_loop(model, h, t + 1, positions)
        h = one_loop(model, h, t if told else 0, positions)
        assert not torch.allclose(h, other, atol=1e-2)


@torch.no_grad()
def test_each_sequence_has_its_own_loops():
    model, loops = built(), [3, 6, 1, 0, 2]
    together = model.think(tokens(), torch.tensor(loops))
    alone = [model.think(row[None], n) for row, n in zip(tokens(), loops)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_at_first_a_loop_changes_nothing_and_the_gates_learn():
    torch.manual_seed(0)
    model = timestep.TimestepGPT(timestep.TimestepConfig(vocab_size=11, n_embd=16, n_head=2))
    states = model.trajectory(tokens(), 3)
    assert torch.equal(states[0], states[3])
    moved = gradients(model, model.loss(tokens(), tokens(2))[0])["core.0.modulate.weight"]
    gates, scales = moved.split(32)
    assert gates.abs().sum(1).all() and not scales.any()


def test_every_parameter_learns_and_loops_need_none_of_their_own():
    model = built()
    found = gradients(model, model.loss(tokens(), tokens(2), torch.tensor([3, 1, 2, 3, 3]))[0])
    assert all(gradient.any() for gradient in found.values())
    shapes = [p.shape for p in model.parameters()]
    assert shapes == [p.shape for p in built(loops=9).parameters()]


def test_what_it_cannot_be_is_refused():
    for wrong in (dict(tied=False), dict(norm="post")):
        with pytest.raises(ValueError, match="one core, with pre-norm"):
            built(**wrong)
