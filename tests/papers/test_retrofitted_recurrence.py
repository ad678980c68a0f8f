"""Layers of a stack as a loop: looped once with none dropped it is the stack itself."""

import pytest
import torch
from helpers import build, gradients, main, paper, tokens

from looped import Config, LoopedGPT
from train import load_model

retrofitted = paper("retrofitted_recurrence")
SHAPE = "--norm pre --injection none --no-tied --sampler fixed --loops 3 --n_core 2".split()
TINY = "--steps 2 --batch 4 --eval_every 2 --eval_size 4 --n_embd 16 --n_head 2".split()
TINY += "--device cpu --hops 2".split()


def small(**changes):
    cls = retrofitted.RetrofittedGPT
    return build(model=cls, config=retrofitted.RetrofittedConfig, **changes)


def stack_of(layers):
    settings = dict(tied=False, injection="none", norm="pre", n_core=1, loops=layers)
    return build(seed=3, model=LoopedGPT, config=Config, **settings)


def plain(model):
    """The injection as it starts, h + e."""
    with torch.no_grad():
        model.inject.weight.copy_(torch.eye(16).repeat(1, 2))
    return model


def test_with_no_layer_dropped_one_loop_from_zero_is_the_stack():
    stack, model = stack_of(5), plain(small(n_prelude=2, n_core=2, n_coda=1, state_init="zeros"))
    model.convert(stack)
    assert torch.allclose(model(tokens(), 1), stack(tokens()), atol=1e-5)
    assert not torch.allclose(model(tokens(), 2), stack(tokens()), atol=1e-2)


def test_the_layers_between_the_first_and_the_last_are_dropped():
    stack, model = stack_of(7), plain(small(n_prelude=1, n_core=2, n_coda=1, state_init="zeros"))
    model.convert(stack)
    x = stack.prelude_norm(stack.embed(tokens()))
    positions = stack.positions(x)
    e = stack.core[0](x, positions)
    h = torch.zeros_like(e)
    for _ in range(3):
        h = stack.core[5](stack.core[4](h + e, positions), positions)
    expected = stack.head(stack.core[6](h, positions))
    assert torch.allclose(model(tokens(), 3), expected, atol=1e-5)


def test_the_start_is_noise_and_new_in_each_call():
    model = small()
    one, e, _ = model.begin(tokens(rows=200))
    other, _, _ = model.begin(tokens(rows=200))
    assert not torch.equal(one, other) and one.std().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(small(state_init="embed").begin(tokens())[0], small().begin(tokens())[1])


@pytest.mark.parametrize(
    "calls, ramp, expected",
    [(1, 10, [1, 1, 2]), (5, 10, [1, 4, 6]), (10, 10, [1, 8, 12]), (99, 10, [1, 8, 12])]
    + [(1, 0, [1, 8, 12])],
)
def test_the_loop_counts_grow_in_a_straight_line(calls, ramp, expected):
    model = small(ramp=ramp)
    model.calls.fill_(calls)
    assert model.shortened(torch.tensor([1, 8, 12])).tolist() == expected


def test_only_training_counts_and_takes_fewer_loops(monkeypatch):
    model, seen = small(ramp=4, state_init="zeros"), []
    think = LoopedGPT.think
    monkeypatch.setattr(LoopedGPT, "think", lambda *args: (seen.append(args[2]), think(*args))[1])
    counts = torch.tensor([4, 8, 2, 4, 1])
    for _ in range(2):
        model.loss(tokens(), tokens(), counts)
    model.eval()
    model.loss(tokens(), tokens(), counts)
    assert [each.tolist() for each in seen] == [[1, 2, 1, 1, 1], [2, 4, 1, 2, 1], counts.tolist()]
    again = small(seed=1)
    again.load_state_dict(model.state_dict())
    assert again.calls == 2


def test_it_learns():
    model = small(ramp=0)
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_a_stack_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="3 layers is too short for 1 . 2 . 1"):
        small().convert(stack_of(3))


def test_from_the_command_line(elsewhere, capsys):
    main(["--out", "stack", *SHAPE, *TINY])
    loop = "--model retrofitted_recurrence --start stack --sampler poisson --loops 2".split()
    still = "--lr 1e-12 --weight_decay 0".split()  # what is saved is what it started from
    main([*loop, *still, "--out", "loop", *TINY])
    model, _, _ = load_model("loop")
    layers, matrix = load_model("stack")[0].core, "attention.out.weight"
    taken = [*model.prelude, *model.core, *model.coda]
    for block, layer in zip(taken, (0, 3, 4, 5), strict=True):
        assert torch.allclose(block.get_parameter(matrix), layers[layer].get_parameter(matrix))
    assert model.calls >= 2
    main(["--out", "tied", *TINY])
    for wrong in (["--start", "tied"], ["--n_embd", "8"], ["--norm", "post"]):
        with pytest.raises(SystemExit):
            main([*loop, "--out", "no", *TINY, *wrong])
        error = capsys.readouterr().err
        assert "needs --no-tied" in error or "has other sizes" in error
