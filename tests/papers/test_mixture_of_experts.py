"""The experts against a loop over tokens; what routing must not change."""

import torch
from helpers import build, gradients, paper, tokens

experts = paper("mixture_of_experts")


def small(**changes):
    return build(model=experts.ExpertsGPT, config=experts.ExpertsConfig, **changes)


def test_each_token_goes_to_its_likeliest_expert():
    layer = small().core[0].mlp
    x = torch.randn(3, 7, 16)
    y = layer(x)
    for b in range(3):
        for t in range(7):
            likely = (layer.router.weight @ x[b, t]).softmax(0)
            best = likely.argmax()
            assert torch.allclose(y[b, t], likely[best] * layer.each[best](x[b, t]), atol=1e-5)
    assert len(set(layer.chosen.flatten().tolist())) > 1


def test_one_expert_is_the_plain_model():
    model, plain = small(experts=1, balance=0), build()
    weights = {
        name.replace("mlp.each.0.", "mlp."): p
        for name, p in model.state_dict().items()
        if "router" not in name
    }
    plain.load_state_dict(weights)
    assert torch.allclose(model(tokens(), 3), plain(tokens(), 3), atol=1e-5)
    assert torch.allclose(
        model.loss(tokens(), tokens(2), 3)[0], plain.loss(tokens(), tokens(2), 3)[0]
    )


def test_the_balance_is_one_if_all_are_equally_busy_and_more_if_one_does_all():
    layer = small().core[0].mlp
    layer.router.weight.data = 100 * torch.eye(4, 16)  # token i goes to expert i
    for picked, expected in (
        ([0, 1, 2, 3], 1.0),
        ([2, 2, 2, 2], 4.0),
        ([0, 0, 0, 1], 4 * (9 + 1) / 16),
    ):
        layer.imbalance.clear()
        layer(torch.eye(16)[picked][None])
        assert abs(layer.imbalance[0].item() - expected) < 1e-4
        assert layer.chosen.tolist() == [picked]


def test_the_balance_is_the_share_chosen_times_the_share_likely():
    layer, x = small().core[0].mlp, torch.randn(2, 7, 16)
    layer(x)
    likely = (x @ layer.router.weight.T).softmax(-1).flatten(0, 1)
    chosen = layer.chosen.flatten().tolist()
    by_hand = 4 * sum(
        chosen.count(i) / 14 * likely[:, i].mean().item() for i in range(4)
    )  # Fedus 2022, equation 4
    assert abs(layer.imbalance[0].item() - by_hand) < 1e-5 and by_hand != 1


def test_everything_learns_and_the_balance_is_of_this_loss_alone():
    model = small()
    first = model.loss(tokens(), tokens(2), 3)[0]
    again = model.loss(tokens(), tokens(2), 3)[0]
    assert torch.equal(first, again) and len(model.core[0].mlp.imbalance) == 3
    found = gradients(model, again)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
