"""The experts against a loop over tokens and heads; what routing must not change."""

import math

import pytest
import torch
from helpers import build, gradients, paper, tokens

experts = paper("mixture_of_experts")


def small(**changes):
    return build(model=experts.MoEUT, config=experts.ExpertsConfig, **changes)


def chosen_by(scores, few):
    """{expert: weight} of the highest few, by hand."""
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:few]
    return {i: torch.sigmoid(scores[i]) for i in best}


def test_the_mlp_is_the_sum_of_the_chosen_experts():
    layer = small(experts=5, chosen=2, expert_width=3).core[0].mlp
    x, normed = torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    y, used = layer(x, normed), set()
    for b in range(2):
        for t in range(7):
            weights = chosen_by(layer.router.score.weight @ normed[b, t], 2)
            by_hand = torch.zeros(16)
            for i, weight in weights.items():
                here = slice(3 * i, 3 * i + 3)
                hidden = torch.relu(layer.up.weight[here] @ x[b, t])
                by_hand += weight * (layer.down.weight[:, here] @ hidden)
            assert torch.allclose(y[b, t], by_hand, atol=1e-5)
            used |= {*weights}
    assert len(used) > 2


def test_the_attention_is_that_of_the_chosen_matrices():
    model = small(position="none")
    layer, (_, _, positions) = model.core[0].attention, model.begin(tokens())
    H, E, D = 2, 4, 8
    x, normed = torch.randn(1, 5, 16), torch.randn(1, 5, 16)
    y = layer(x, normed, positions)[0]
    q, k = (layer.qk.weight @ normed[0].T).T.view(5, 2, H, D).unbind(1)
    values = layer.value.weight.view(H, E, D, 16)
    outputs = layer.out.weight.view(16, H, E, D)

    def weights(router, t, head):
        return chosen_by(router.score.weight.view(H, E, 16)[head] @ normed[0, t], 2)

    for t in range(5):
        by_hand = torch.zeros(16)
        for head in range(H):
            scores = torch.stack([q[t, head] @ k[s, head] for s in range(t + 1)])
            mixed = torch.zeros(D)
            for s, share in enumerate((scores / math.sqrt(D)).softmax(0)):
                for i, weight in weights(layer.value_router, s, head).items():
                    mixed += share * weight * (values[head, i] @ x[0, s])
            for i, weight in weights(layer.out_router, t, head).items():
                by_hand += weight * (outputs[:, head, i] @ mixed)
        assert torch.allclose(y[t], by_hand, atol=1e-5)


def test_norms_stand_only_before_routers_queries_and_keys():
    """So of a state three times as large a block makes three times as much."""
    model = small()
    block, (h, _, positions) = model.core[0], model.begin(tokens())
    assert torch.allclose(block(3 * h, positions), 3 * block(h, positions), atol=1e-4)


def test_the_balance_is_minus_the_entropy_of_the_shares():
    router = experts.Router(4, 1, 4, 1, 0.01)
    router.score.weight.data = 120 * torch.eye(4)  # token i goes to expert i; other shares are 0
    for picked, expected in (
        ([0, 1, 2, 3], -math.log(4)),
        ([2, 2, 2, 2], 0.0),
        ([0, 0, 0, 1], 0.75 * math.log(0.75) + 0.25 * math.log(0.25)),
    ):
        router.log_shares = []
        router(torch.eye(4)[picked][None])
        assert router.imbalance().item() == pytest.approx(expected, abs=1e-4)
        router.imbalance().backward()
        assert router.score.weight.grad.isfinite().all()


def test_the_balance_is_of_all_loops_of_this_loss_alone():
    model, plain = small(), small(balance=0.0, head_balance=0.0)
    plain.load_state_dict(model.state_dict())
    scores = {}
    for router in (module for module in model.modules() if isinstance(module, experts.Router)):
        seen = scores[router] = []
        router.score.register_forward_hook(lambda _, __, y, seen=seen: seen.append(y))
    loss, without = (each.loss(tokens(), tokens(2), 3)[0] for each in (model, plain))
    by_hand = 0.0
    for router, seen in scores.items():
        assert len(seen) == 3  # the loops
        each = torch.cat(seen).unflatten(-1, (router.heads, -1))
        p = each.softmax(-1).mean((0, 1))
        weight = 0.001 if router.heads > 1 else 0.01
        by_hand += weight * (p * p.log()).sum(-1).mean()
    assert len(scores) == 6 and (loss - without).item() == pytest.approx(by_hand.item(), abs=1e-5)
    assert torch.equal(loss, model.loss(tokens(), tokens(2), 3)[0])
    with torch.no_grad():
        looked_at = model.loss(tokens(), tokens(2), 3)[0]
    assert torch.equal(looked_at, without)


def test_everything_learns_from_the_answers():
    model = small(balance=0.0, head_balance=0.0)
    found = gradients(model, model.loss(tokens(), tokens(2), 3)[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_weights_start_as_in_the_authors_code():
    torch.manual_seed(0)
    config = experts.ExpertsConfig(vocab_size=11, n_embd=64, loops=4)
    block = experts.MoEUT(config).core[1]
    smaller = (2 / (2 * 4)) ** 0.5
    for layer, width in (
        (block.attention.qk, 64),
        (block.attention.value, 64),
        (block.attention.out, 64),  # H D: those of a head's experts are alternatives
        (block.attention.out_router.score, 64),
        (block.mlp.router.score, 64),
        (block.mlp.up, 64),
        (block.mlp.down, 16 * 32),  # all experts
    ):
        assert layer.weight.std().item() == pytest.approx(smaller * width**-0.5, rel=0.1)


def test_it_does_not_look_ahead():
    model, question = small(position="none"), tokens()
    other = question.clone()
    other[:, -1] = (other[:, -1] + 1) % 11
    assert torch.allclose(model(question, 3)[:, :-1], model(other, 3)[:, :-1], atol=1e-6)


@pytest.mark.parametrize("wrong", [dict(chosen=0), dict(chosen=17), dict(head_chosen=5)])
def test_more_than_all_cannot_be_chosen(wrong):
    with pytest.raises(ValueError, match="chosen must be at least 1"):
        small(**wrong)
