"""The recursion written out, as in the paper's pseudocode, and where its gradient goes."""

import pytest
import torch
from helpers import build, gradients, paper, tokens
from torch.nn import functional as F

from looped import LoopedGPT

module = paper("tiny_recursive_model")


def small(**changes):
    return build(model=module.TinyRecursiveModel, config=module.RecursiveConfig, **changes)


def by_hand(model, text, recursions, segments, one_step=False):
    """The logits after each segment. Only its last recursion has a gradient."""
    x = model.prelude_norm(model.embed(text))
    positions, (f,) = model.positions(x), model.core
    y, z, said = x, x, []
    for _ in range(segments):
        for recursion in range(recursions):
            for i in range(model.config.inner):
                z = f(x + y + z, positions)
                if recursion + 1 < recursions or (one_step and i + 1 < model.config.inner):
                    y, z = y.detach(), z.detach()
            y = f(y + z, positions)
            if recursion + 1 < recursions:
                y, z = y.detach(), z.detach()
        said.append(F.linear(model.norm(y), model.embed.weight))
        y, z = y.detach(), z.detach()
    return said


@pytest.mark.parametrize("one_step", (False, True))
def test_the_loss_and_its_gradient_are_those_of_the_pseudocode(one_step):
    model, targets = small(inner=3, segments=3, one_step=one_step), tokens(2)
    said = by_hand(model, tokens(), recursions=2, segments=3, one_step=one_step)
    expected = sum(F.cross_entropy(logits.flatten(0, 1), targets.flatten()) for logits in said) / 3
    wanted = gradients(model, expected)
    loss, prediction = model.loss(tokens(), targets, 6)
    assert torch.allclose(loss, expected, atol=1e-5) and torch.equal(
        prediction, said[-1].argmax(-1)
    )
    found = gradients(model, loss)
    assert all(torch.allclose(each, wanted[name], atol=1e-5) for name, each in found.items())
    other = small(inner=3, segments=3, one_step=not one_step)
    found = gradients(other, other.loss(tokens(), targets, 6)[0])
    assert any(not torch.allclose(each, wanted[name], atol=1e-3) for name, each in found.items())


def test_more_loops_are_more_recursions_and_the_answer_is_read_from_y():
    model = small(inner=2, segments=2)
    said = by_hand(model, tokens(), recursions=1, segments=5)
    for loops, h in enumerate(model.states(tokens(), 5)):
        if loops:
            assert torch.allclose(model.readout(h), said[loops - 1], atol=1e-5)
    assert h.shape[-1] == 2 * model.config.n_embd
    counts = torch.tensor([5, 1, 2, 2, 4])
    each = torch.stack([said[count - 1][row] for row, count in enumerate(counts.tolist())])
    assert torch.allclose(model(tokens(), counts), each, atol=1e-5)


def test_without_inner_updates_it_is_the_loop_as_it_was():
    model, plain = small(inner=0, segments=1, backprop_loops=0), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(model(tokens(), 5), plain(tokens(), 5), atol=1e-5)
    assert torch.allclose(
        model.loss(tokens(), tokens(2), 5)[0], plain.loss(tokens(), tokens(2), 5)[0], atol=1e-5
    )


@pytest.mark.parametrize("cut", (0, 1, 2))
def test_without_inner_updates_its_gradient_is_that_of_the_loop_also_where_it_is_cut_off(cut):
    model = small(inner=0, segments=1, backprop_loops=cut)
    plain = build(model=LoopedGPT, backprop_loops=cut)
    plain.load_state_dict(model.state_dict())
    found, wanted = (
        gradients(each, each.loss(tokens(), tokens(2), 5)[0]) for each in (model, plain)
    )
    for name, gradient in wanted.items():
        assert gradient.abs().sum() > 0
        assert torch.allclose(found[name], gradient, atol=1e-5), name


def test_with_every_setting_the_question_learns():
    for inner in (0, 1, 2):
        model = small(inner=inner, segments=2, backprop_loops=1)
        found = gradients(model, model.loss(tokens(), tokens(2), 4)[0])
        assert found["prelude_norm.weight"].abs().sum() > 0


def test_counts_are_shared_by_the_segments():
    model = small(segments=2)
    loss = model.loss(tokens(), tokens(2), torch.tensor([3, 4, 1, 2, 7]))[0]
    assert torch.allclose(
        loss, model.loss(tokens(), tokens(2), torch.tensor([4, 4, 2, 2, 8]))[0], atol=1e-5
    )


def test_refusals():
    for changes in (dict(inner=-1), dict(segments=0), dict(tied=False)):
        with pytest.raises(ValueError):
            small(**changes)
    assert small(loss="every").config.loss == "final"  # as the recipe of Sudoku has it
