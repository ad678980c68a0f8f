"""A stack that becomes a loop: at full rank it is the stack, below it the best of that rank."""

import pytest
import torch
from helpers import build, gradients, main, paper, tokens

from looped import Config, LoopedGPT
from train import load_model

relaxed = paper("relaxed_recursive")
SHAPE = dict(n_core=2, loops=3, norm="pre", injection="none")


def small(**settings):
    return build(model=relaxed.RelaxedGPT, config=relaxed.RelaxedConfig, **{**SHAPE, **settings})


@pytest.fixture
def stack():
    return build(seed=3, model=LoopedGPT, config=Config, tied=False, **SHAPE)


@pytest.mark.parametrize("shared", ("average", "stepwise"))
def test_full_rank_is_the_stack(stack, shared):
    model = small(rank=16, shared=shared)
    with torch.no_grad():
        for part in (*model.up, *model.down):
            part.zero_()
    model.convert(stack)
    assert torch.allclose(model(tokens()), stack(tokens()), atol=1e-4)
    shares = [block.mlp[2].weight for block in model.core]
    layers = [block.mlp[2].weight for block in stack.core]
    wanted = (
        [sum(layers[0::2]) / 3, sum(layers[1::2]) / 3]
        if shared == "average"
        else [layers[0], layers[5]]
    )
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(shares, wanted))


def test_a_lower_rank_misses_what_the_singular_values_say(stack):
    model = small(rank=4)
    model.convert(stack)
    for m, name in ((1, "attention.out.weight"), (3, "mlp.2.weight")):  # no gain is in the way
        for t in range(3):
            left = stack.core[2 * t + 1].get_parameter(name) - model.core[1].get_parameter(name)
            missed = left - model.up[m][t, 1] @ model.down[m][t, 1]
            s = torch.linalg.svdvals(left)
            assert missed.norm().item() == pytest.approx(s[4:].norm().item(), rel=1e-3)


def test_each_loop_has_its_own_weights():
    model, h = small(rank=3), torch.randn(2, 7, 16)
    _, _, positions = model.begin(tokens(rows=2))
    for t in range(3):
        twin = build(model=LoopedGPT, config=Config, **SHAPE)
        twin.core.load_state_dict(model.core.state_dict())
        with torch.no_grad():
            for i, block in enumerate(twin.core):
                for m, name in enumerate(relaxed.MATRICES):
                    block.get_parameter(name).add_(model.up[m][t, i] @ model.down[m][t, i])
        after = model.loop(h, h, t, positions)
        assert torch.allclose(after, twin.loop(h, h, t, positions), atol=1e-5)
    assert torch.equal(model.loop(h, h, 7, positions), model.loop(h, h, 2, positions))


def test_rank_0_is_the_loop_of_looped():
    model, plain = small(rank=0), build(model=LoopedGPT, config=Config, **SHAPE)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens()), plain(tokens()))


def test_it_learns():
    model = small()
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_what_it_cannot_be_is_refused(stack):
    with pytest.raises(ValueError, match="rank must be at least 0"):
        small(rank=-1)
    with pytest.raises(ValueError, match="shares its layers"):
        small(tied=False)
    with pytest.raises(ValueError, match="choose from average, stepwise"):
        small(shared="half")
    for wrong in (dict(loops=2), dict(norm="post")):
        with pytest.raises(ValueError, match="needs an untied run"):
            small(**wrong).convert(stack)


def test_from_the_command_line(elsewhere, capsys):
    tiny = "--steps 2 --batch 4 --eval_every 2 --eval_size 4 --n_embd 16 --n_head 2".split()
    tiny += "--device cpu --hops 2".split()
    shape = "--norm pre --n_core 2 --loops 2 --sampler fixed".split()
    main(["--no-tied", "--out", "stack", *shape, *tiny])
    main(
        [
            "--model",
            "relaxed_recursive",
            "--start",
            "stack",
            "--rank",
            "2",
            "--out",
            "loop",
            *shape,
            *tiny,
        ]
    )
    still = "--rank 0 --lr 1e-12 --weight_decay 0".split()  # what is saved is what it started from
    main(
        [
            "--model",
            "relaxed_recursive",
            "--start",
            "stack",
            *still,
            "--out",
            "start",
            *shape,
            *tiny,
        ]
    )
    for wrong in (["--n_embd", "8"], ["--norm", "post"]):
        with pytest.raises(SystemExit):
            flags = [*shape, *tiny, *wrong]
            main(["--model", "relaxed_recursive", "--start", "stack", "--out", "no", *flags])
        assert "needs an untied run" in capsys.readouterr().err
    model, _, _ = load_model("loop")
    layers, matrix = (
        load_model("stack")[0].core,
        "attention.out.weight",
    )  # no norm's gain is folded into it
    started, _, _ = load_model("start")
    mean = (layers[0].get_parameter(matrix) + layers[2].get_parameter(matrix)) / 2
    assert torch.allclose(started.core[0].get_parameter(matrix), mean)
    assert type(model).__name__ == "RelaxedGPT" and model.up[0].shape == (2, 2, 48, 2)
