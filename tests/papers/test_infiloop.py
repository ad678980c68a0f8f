"""The running mean against the mean of all results, written out with the weights of each."""

import torch
from helpers import build, gradients, paper, tokens
from torch.nn import functional as F

from claims import infiloop as claim
from looped import LoopedGPT

module = paper("infiloop")


def small(**changes):
    return build(model=module.InfiLoop, **changes)


def plain_like(model):
    plain = build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict(), strict=False)
    return plain


def test_the_state_is_the_weighted_mean_of_all_results_so_far():
    model = small()
    plain, beta = plain_like(model), model.keep.sigmoid().item()
    h, e, positions = plain.begin(tokens())
    results = [h]
    for t, state in enumerate(model.states(tokens(), 6)):
        if t > 0:
            results.append(plain.core[0](h + e, positions))
        weights = []
        for i, z in enumerate(results):
            unit = z / z.pow(2).mean(-1, keepdim=True).sqrt()
            weights.append(beta ** (t - i) * (unit * model.query).sum(-1, keepdim=True).exp())
        h = sum(weight * z for weight, z in zip(weights, results)) / sum(weights)
        assert torch.allclose(model.proper_state(state), h, atol=1e-5)
        assert torch.allclose(state[..., -1:].exp(), sum(weights), atol=1e-4)
        assert torch.allclose(model.readout(state), plain.readout(h), atol=1e-4)
    assert model.query.abs().min() > 0 and len(results) == 7


@torch.no_grad()
def test_the_claim_measures_how_much_the_steps_differ():
    model, spreads = small(), []
    states = list(model.states(tokens(rows=20), 9))
    _, e, positions = LoopedGPT.begin(model, tokens(rows=20))
    for before, state in list(zip(states, states[1:]))[1:]:
        h, after = before[..., :-1], state[..., :-1]
        z = model.core[0](h + e, positions)
        steps = ((after - h).norm(dim=-1) / (z - h).norm(dim=-1)).flatten()
        low, high = steps.quantile(0.1), steps.quantile(0.9)
        spreads.append((high - low).item())
    wanted = sum(spreads) / len(spreads)
    assert len(spreads) == 8 and wanted > 0.01
    assert abs(claim.spread_of_steps(model, states[1:]) - wanted) < 1e-4
    model.query.zero_()
    assert claim.spread_of_steps(model, list(model.states(tokens(), 9))[1:]) < 1e-4
    assert claim.spread_of_steps(plain_like(model), states[1:]) == 0


@torch.no_grad()
def test_a_step_goes_nowhere_or_all_the_way_as_the_weights_say():
    model = small()
    before, e, positions = model.begin(tokens())
    h = model.proper_state(before)
    z = model.core[0](h + e, positions)
    apart = F.rms_norm(z, (16,))[0, 0] - F.rms_norm(h, (16,))[0, 0]  # of one position
    for size, wanted in ((-1e4, h), (1e4, z)):
        model.query.copy_(size * apart)  # z weighs exp(size * |apart|^2) times as much as h there
        state = model.loop(model.begin(tokens())[0], e, 0, positions)
        assert torch.allclose(model.proper_state(state)[0, 0], wanted[0, 0], atol=1e-6)
        assert torch.isfinite(state).all()


def test_at_the_start_all_results_weigh_the_same():
    torch.manual_seed(0)
    model = module.InfiLoop(small().config)
    assert not model.log_weight(torch.randn(2, 3, 16)).any()
    assert abs(model.keep.sigmoid().item() - 0.55) < 1e-6


def test_every_parameter_learns():
    model = small()
    found = gradients(model, model.loss(tokens(), tokens(2), torch.tensor([3, 1, 2, 3, 3]))[0])
    assert all(gradient.any() for gradient in found.values())
