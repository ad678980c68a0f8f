"""The loop of the paper, plain and with lanes, written out lane by lane."""

import pytest
import torch
from helpers import build, gradients, main, paper, tokens
from torch.nn import functional as F

from looped import LoopedGPT

worth = paper("recurrence_worth")


def built(**changes):
    return build(model=worth.Recurrence, config=worth.RecurrenceConfig, **changes)


def through(model, x, positions):
    """The core, and the norm at the end of a loop."""
    for block in model.core:
        x = block(x, positions)
    return x / x.pow(2).mean(-1, keepdim=True).sqrt() * model.loop_norm.weight


@torch.no_grad()
def test_the_plain_loop_is_the_formula_written_out():
    model = built(n_core=2)
    h, e, positions = model.begin(tokens())
    of_h, of_e = model.inject.weight.split(16, dim=1)
    for _ in range(3):
        h = through(model, h @ of_h.T + e @ of_e.T, positions)
    assert torch.allclose(model.think(tokens(), 3), h, atol=1e-4)


@torch.no_grad()
def test_the_lanes_are_the_formula_written_out():
    model, K = built(n_core=2, lanes=3), 3
    h, _, positions = model.begin(tokens())
    lanes = list(h.split(16, dim=-1))
    assert torch.equal(lanes[0], lanes[2])
    for t in range(3):
        read, mix, write = model.read[t], model.mix[t], model.write[t]
        s = through(model, sum(read[i] * lanes[i] for i in range(K)), positions)
        mixed = [sum(mix[i, j] * lanes[j] for j in range(K)) for i in range(K)]
        lanes = [mixed[i] + write[i] * s for i in range(K)]
    state = model.think(tokens(), 3)
    assert torch.allclose(state, torch.cat(lanes, dim=-1), atol=1e-4)
    answer = LoopedGPT.readout(model, sum(lanes))
    assert torch.allclose(model.readout(state), answer, atol=1e-4)


@torch.no_grad()
def test_at_the_start_a_loop_reads_e_alone_and_a_lane_each_in_turn():
    start = dict(vocab_size=11, n_embd=16, n_head=2, loops=4)
    plain = worth.Recurrence(worth.RecurrenceConfig(**start))
    h, e, positions = plain.begin(tokens())
    assert torch.equal(
        plain.loop(h, e, 0, positions), plain.loop(torch.randn_like(h), e, 0, positions)
    )
    two = worth.Recurrence(worth.RecurrenceConfig(**start, lanes=2))
    lanes = torch.randn(5, 7, 32)
    for t in range(6):  # also beyond the four of training, which are as the last
        read = lanes[..., 16:] if t % 2 or t > 3 else lanes[..., :16]
        s = F.rms_norm(two.core[0](read, positions), (16,))
        found = two.loop(lanes, e, t, positions)
        assert torch.allclose(found, lanes + s.repeat(1, 1, 2), atol=1e-4)


@pytest.mark.parametrize("lanes", (1, 2))
def test_it_learns(lanes):
    model = built(lanes=lanes)
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_what_it_cannot_be_is_refused(elsewhere, capsys):
    with pytest.raises(SystemExit):
        main("--task multihop --model recurrence_worth --lanes 0".split())
    assert "lanes must be at least 1" in capsys.readouterr().err
