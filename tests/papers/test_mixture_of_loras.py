"""The experts against a matrix made for each token; what a router must not change; the merge."""

import pytest
import torch
from helpers import build, gradients, paper, tokens
from torch.nn import functional as F

from looped import Config, LoopedGPT

module = paper("mixture_of_loras")


def small(**changes):
    return build(model=module.LorasGPT, config=module.LorasConfig, **dict(rank=3) | changes)


def matrix(adapted, p):
    """The matrix of one token: W + 2 * the sum of p_i B_i A_i."""
    return adapted.shared.weight + 2 * sum(p[i] * adapted.up[i] @ adapted.down[i] for i in p)


@pytest.mark.parametrize("chosen", (1, 2, 4))
def test_each_token_has_the_matrices_of_its_likeliest_experts(chosen):
    layer = small(chosen=chosen).core[0].mlp
    x, picked = torch.randn(3, 7, 16), set()
    y = layer(x)
    for b in range(3):
        for t in range(7):
            likely = (layer.router.weight @ x[b, t]).softmax(0)
            best = sorted(range(4), key=lambda i: -likely[i])[:chosen]
            total = sum(likely[i] for i in best) if chosen > 1 else 1
            p = {i: likely[i] / total for i in best}
            by_hand = matrix(layer.last, p) @ F.gelu(matrix(layer.first, p) @ x[b, t])
            assert torch.allclose(y[b, t], by_hand, atol=1e-4)
            picked.add(tuple(sorted(best)))
    assert len(picked) > 1 or chosen == 4


def test_at_first_it_is_the_plain_loop():
    settings = dict(vocab_size=11, n_embd=16, n_head=2, n_prelude=1, n_coda=1)
    torch.manual_seed(0)
    model = module.LorasGPT(module.LorasConfig(**settings))
    plain = LoopedGPT(Config(**settings))
    names = {
        name.replace("first.shared", "0").replace("last.shared", "2"): value
        for name, value in model.state_dict().items()
    }
    missing, others = plain.load_state_dict(names, strict=False)
    assert not missing and {name.split(".")[0] for name in others} == {"core"}
    assert torch.allclose(model(tokens(), 3), plain(tokens(), 3), atol=1e-5)


def test_the_balance_is_the_share_chosen_times_the_share_likely():
    layer, x = small().core[0].mlp, torch.randn(2, 7, 16)
    layer(x)
    likely = (x @ layer.router.weight.T).softmax(-1).flatten(0, 1)
    chosen = [i for row in likely for i in row.argsort().tolist()[-2:]]
    by_hand = 4 * sum(chosen.count(i) / 28 * likely[:, i].mean().item() for i in range(4))
    assert abs(layer.imbalance[0].item() - by_hand) < 1e-5 and by_hand != 1


def test_the_balance_is_part_of_this_loss_alone():
    model, without = small(n_core=2, balance=0.5), small(n_core=2, balance=0.0)
    first = model.loss(tokens(), tokens(2), 3)[0]
    again = model.loss(tokens(), tokens(2), 3)[0]
    terms = [term for block in model.core for term in block.mlp.imbalance]
    assert torch.equal(first, again) and len(terms) == 6
    added = again - without.loss(tokens(), tokens(2), 3)[0]
    assert torch.allclose(added, 0.5 * sum(terms) / 6, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(
            model.loss(tokens(), tokens(2), 3)[0], without.loss(tokens(), tokens(2), 3)[0]
        )


def test_everything_learns():
    model = small()
    found = gradients(model, model.loss(tokens(), tokens(2), 3)[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_by_loop_each_loop_has_one_matrix_for_all_tokens():
    """The control; loops beyond the experts have the last one."""
    model = small(by_loop=True, experts=2)
    plain = build(model=LoopedGPT, config=Config)
    plain.load_state_dict(model.state_dict(), strict=False)
    h, e, positions = plain.begin(tokens())
    mlp = model.core[0].mlp
    for state, expert in zip(list(model.states(tokens(), 3))[1:], (0, 1, 1)):
        plain.core[0].mlp[0].weight.data = matrix(mlp.first, {expert: 1})
        plain.core[0].mlp[2].weight.data = matrix(mlp.last, {expert: 1})
        h = plain.loop(h, e, 0, positions)
        assert torch.allclose(state, h, atol=1e-4)
    loss, _ = model.loss(tokens(), tokens(2), 3)
    assert all(gradient.any() for gradient in gradients(model, loss).values())


def test_merged_it_is_a_plain_loop_with_the_mean_of_the_experts():
    model = small(n_core=2)
    plain = build(model=LoopedGPT, config=Config, n_core=2)
    weights = model.state_dict()
    for i, block in enumerate(model.core):
        for part, name in ((block.mlp.first, "0"), (block.mlp.last, "2")):
            experts = [part.up[e] @ part.down[e] for e in range(4)]
            weights[f"core.{i}.mlp.{name}.weight"] = part.shared.weight + sum(experts) / 2
    plain.load_state_dict(weights, strict=False)
    before = model(tokens(), 3)
    model.merge()
    assert torch.allclose(model(tokens(), 3), plain(tokens(), 3), atol=1e-4)
    assert not torch.allclose(model(tokens(), 3), before, atol=1e-2)


def test_what_it_cannot_be_is_refused():
    for wrong in (dict(chosen=0), dict(chosen=5), dict(rank=0)):
        with pytest.raises(ValueError, match="chosen at most experts"):
            small(**wrong)
