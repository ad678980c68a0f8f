"""The hyper-connections, written out token by token and stream by stream."""

import math

import pytest
import torch
from helpers import build, gradients, main, paper, tokens

from looped import Config, LoopedGPT

hyperloop = paper("hyperloop")


def built(**changes):
    changes = dict(streams=3) | changes
    return build(model=hyperloop.Hyperloop, config=hyperloop.HyperloopConfig, **changes)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def one_loop(model, streams, t, positions):
    """streams: a list of n tensors (T, C) of one question."""
    n, gate = len(streams), model.gates[t]
    rows = []
    for place in range(len(streams[0])):
        together = torch.cat([stream[place] for stream in streams])
        together = together / together.pow(2).mean().sqrt() * model.streams_norm.weight
        rows.append([float(gate.weight[k] @ together + gate.bias[k]) for k in range(3 * n)])

    def column(k, factor=1):
        return torch.tensor([[factor * sigmoid(row[k])] for row in rows])  # (T, 1)

    x = sum(column(i) * streams[i] for i in range(n))[None]
    for block in model.core:
        x = block(x, positions)
    x = x[0] + model.loop_embedding[t]
    return [column(n + i) * streams[i] + column(2 * n + i, 2) * x for i in range(n)]


@torch.no_grad()
def test_a_loop_is_the_formula_written_out():
    model, asked = built(n_core=2), tokens()
    for question in asked[:3]:
        h, _, positions = model.begin(question[None])
        streams = [h[0, :, :16]] * 3
        for t in (0, 1, 2):
            streams = one_loop(model, streams, t, positions)
        state = model.think(question[None], 3)
        assert torch.allclose(state[0], torch.cat(streams, dim=1), atol=1e-4)
        assert not torch.allclose(streams[0], streams[1], atol=1e-2)
        answer = LoopedGPT.readout(model, (streams[0] + streams[1] + streams[2])[None] / 3)
        assert torch.allclose(model(question[None], 3), answer, atol=1e-4)


@torch.no_grad()
def test_loops_beyond_those_of_training_are_as_the_last():
    model = built()
    h, e, positions = model.begin(tokens())
    assert torch.equal(model.loop(h, e, 9, positions), model.loop(h, e, 3, positions))
    assert not torch.allclose(model.loop(h, e, 2, positions), model.loop(h, e, 3, positions))


@pytest.mark.parametrize("n", (2, 4))
@torch.no_grad()
def test_it_starts_as_the_plain_loop_in_half_steps(n):
    settings = dict(vocab_size=11, n_embd=16, n_head=2, injection="none", norm="pre")
    torch.manual_seed(0)
    model = hyperloop.Hyperloop(hyperloop.HyperloopConfig(streams=n, **settings))
    plain = LoopedGPT(Config(**settings))
    plain.load_state_dict(model.state_dict(), strict=False)
    h, e, positions = plain.begin(tokens())
    h = torch.randn_like(h)
    for gate in model.gates:  # without the noise
        gate.weight.zero_()
    half = (h + plain.loop(h, e, 0, positions)) / 2
    found = model.loop(h.repeat(1, 1, n), e, 0, positions)
    assert torch.allclose(found, half.repeat(1, 1, n), atol=1e-5)
    assert torch.allclose(model.proper_state(found), half, atol=1e-5)


def test_it_learns():
    model = built()
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_what_it_cannot_be_is_refused(elsewhere, capsys):
    with pytest.raises(ValueError, match="streams must be at least 2"):
        built(streams=1)
    with pytest.raises(SystemExit):
        main("--task multihop --model hyperloop --streams 1".split())
    assert "streams must be at least 2" in capsys.readouterr().err
