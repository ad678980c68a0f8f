"""The recurrent net against its equations, one token at a time."""

import pytest
import torch
from helpers import TINY, build, gradients, main, paper, tokens
from torch.nn import functional as F

from looped import Config, LoopedGPT
from train import load_model

GRU = paper("gru").GRU


def small(**changes):
    return build(model=GRU, config=GRU.config_class, **changes)


def by_hand(model, text):
    """Logits (B, T, vocab): the equations of Cho et al. (2014) as PyTorch writes them."""
    gru, e = model.gru, model.prelude_norm(model.embed(text))
    state, said = torch.zeros(len(text), gru.hidden_size), []
    for x in e.unbind(1):
        reset, update, new = (x @ gru.weight_ih_l0.T + gru.bias_ih_l0).chunk(3, dim=-1)
        reset_h, update_h, new_h = (state @ gru.weight_hh_l0.T + gru.bias_hh_l0).chunk(3, dim=-1)
        keep = (update + update_h).sigmoid()
        state = keep * state + (1 - keep) * (new + (reset + reset_h).sigmoid() * new_h).tanh()
        said.append(F.linear(model.norm(state @ model.out.weight.T), model.embed.weight))
    return torch.stack(said, dim=1)


def test_it_is_a_gru_and_loops_change_nothing():
    model = small()
    expected = by_hand(model, tokens())
    for loops in (1, 4, torch.tensor([1, 2, 3, 4, 2])):
        assert torch.allclose(model(tokens(), loops), expected, atol=1e-5)
    assert torch.allclose(model.solve(tokens())[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    (
        {},
        dict(n_embd=64, injection="concat"),
        dict(n_embd=32, n_core=2, reembed=True, position="window"),
    ),
)
def test_it_has_as_many_parameters_as_the_looped_model(changes):
    counts = []
    for model, config in ((LoopedGPT, Config), (GRU, GRU.config_class)):
        built = build(model=model, config=config, **changes)
        counts.append(sum(p.numel() for p in built.parameters()))
    assert counts[1] == pytest.approx(counts[0], rel=0.03)
    assert small(width=5).gru.hidden_size == 5


def test_everything_in_it_learns():
    model = small(reembed=True, injection="concat", position="window", backprop_loops=1)
    found = gradients(model, model.loss(tokens(), tokens(2), torch.tensor([1, 2, 3, 4, 2]))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values()) and len(found) == 8


def test_it_trains_from_the_command_line(elsewhere):
    for task, more in (("multihop", []), ("chains", ["--n_head", "1"])):
        main(["--task", task, "--model", "gru", *more, *TINY])
        model, trained, flags = load_model(f"runs/{task}")
        assert type(model).__name__ == "GRU" and flags.model == "gru"
        batch = trained.batch("val", 0, 5)
        assert trained.check(batch, model(batch.tokens).argmax(-1)).shape == (5,)
    assert type(model.embed).__name__ == "EdgeEmbedding"  # what the looped model reads, too
