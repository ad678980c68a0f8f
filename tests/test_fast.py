"""The twins of fast.py give what the plain parts of looped.py give, gradients included."""

import copy
import functools

import pytest
import torch
from helpers import BOARD, B, T, build, gradients, tokens
from test_looped import COUNTS, StepSignal, ThereAndBack, steps_by_hand, think_alone
from torch.nn import functional as F

import train
from looped import Attention, LoopedGPT, PositionTerms
from support.fast import (
    FastAttention,
    FastRMSNorm,
    RMSNormByHand,
    checkpoint_loops,
    compile_loop,
    speed_up,
)
from support.flags import make_model, make_task

# ---- norm and attention


@pytest.mark.parametrize("scale", (1e-6, 1.0, 1e6))
def test_the_norm_by_hand_is_pytorchs_and_its_gradient_that_of_finite_differences(scale):
    torch.manual_seed(0)
    ours, theirs, x = FastRMSNorm(8), torch.nn.RMSNorm(8), scale * torch.randn(3, 5, 8)
    ours.weight.data = theirs.weight.data = torch.randn(8)
    ours.eps = theirs.eps = torch.finfo(torch.float32).eps  # as looped.py sets it
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours(torch.zeros(2, 8)).eq(0).all()
    x, weight = x.double().requires_grad_(), torch.randn(8, dtype=torch.double, requires_grad=True)
    results = []
    outer = torch.sin(torch.arange(120.0)).view(3, 5, 8).double()
    for norm in (RMSNormByHand.apply, lambda x, weight, eps: F.rms_norm(x, (8,), weight, eps)):
        y = norm(x, weight, 1e-7)
        results.append((y, *torch.autograd.grad(y, (x, weight), outer)))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)
    if scale == 1:
        assert torch.autograd.gradcheck(RMSNormByHand.apply, (x, weight, 1e-7))


@pytest.mark.parametrize(
    "changes",
    [dict(position=p) for p in ("none", "rope", "alibi", "relative")]
    + [dict(position="grid", coordinates=BOARD, causal=False), dict(causal=False)]
    + [dict(position="window", causal=False)],
    ids=str,
)
@pytest.mark.parametrize("counts", (3, COUNTS), ids=str)
def test_a_model_with_its_twins_equals_the_plain_one(changes, counts):
    settings = dict(n_prelude=1, n_core=2, n_coda=1, norm="sandwich", reembed=True, **changes)
    plain, x = build(**settings).double(), tokens(length=6)
    fast = speed_up(copy.deepcopy(plain))
    kinds = {type(module) for module in fast.modules()}
    assert {FastRMSNorm, FastAttention} <= kinds and not {torch.nn.RMSNorm, Attention} & kinds
    counts = torch.tensor(counts)
    torch.testing.assert_close(fast(x, counts), plain(x, counts))
    one, other = (gradients(model, model(x, counts).square().mean()) for model in (plain, fast))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(other[name], one[name])


def test_a_model_with_its_twins_generates_solves_and_takes_an_empty_batch_like_the_plain_one():
    plain = build(n_coda=1)
    fast = speed_up(copy.deepcopy(plain))
    assert torch.equal(fast.generate(tokens(), 5), plain.generate(tokens(), 5))
    torch.testing.assert_close(
        fast.solve(tokens(), max_loops=9), plain.solve(tokens(), max_loops=9)
    )
    assert fast(tokens(rows=0)).shape == plain(tokens(rows=0)).shape


# ---- sequences that leave the batch


def both(model):
    """A model with the think of looped.py, and a copy of it with the faster twin."""
    fast = speed_up(copy.deepcopy(model))
    assert type(model).think is LoopedGPT.think and "think" in vars(fast)
    return model, fast


@pytest.mark.parametrize("k", (0, 1, 3, 6, 7))
@pytest.mark.parametrize(
    "kind", (LoopedGPT, StepSignal, ThereAndBack), ids=lambda kind: kind.__name__
)
def test_fast_think_equals_think_and_a_loop_by_hand_over_single_sequences(kind, k):
    """Of logits and all gradients, with counts and truncation, also in a subclass."""
    settings = dict(n_prelude=1, n_core=2, n_coda=1, backprop_loops=k)
    plain, fast = both(build(model=kind, **settings).double())
    x = tokens()
    by_hand = torch.cat([think_alone(plain, x[i : i + 1], n, k) for i, n in enumerate(COUNTS)])
    counts, wanted = torch.tensor(COUNTS), plain.readout(by_hand)
    expected = gradients(plain, wanted.square().sum())
    for model in (plain, fast):
        logits = model(x, counts)
        torch.testing.assert_close(logits, wanted)
        found = gradients(model, logits.square().sum())
        for name in expected:
            torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("loops", (None, 5, [4] * B, COUNTS), ids=str)
@pytest.mark.parametrize("k", (0, 2))
def test_fast_think_goes_on_from_a_first_state(k, loops):
    plain, fast = both(build(n_prelude=1, reembed=True, backprop_loops=k).double())
    loops = torch.tensor(loops) if isinstance(loops, list) else loops
    first = torch.randn(B, T, 16, dtype=torch.double, requires_grad=True)
    results = []
    for model in (plain, fast):
        h = model.think(tokens(), loops, first)
        (gradient,) = torch.autograd.grad(h.square().sum(), first, materialize_grads=True)
        results.append((h, gradient))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("every", (False, True))
def test_the_loss_is_the_same_with_the_twins(every):
    settings = dict(n_coda=1, loss="every") if every else dict(n_coda=1)
    plain, fast = both(build(**settings).double())
    counts = torch.tensor([3] * B if every else COUNTS)
    one, other = (model.loss(tokens(), tokens(2), counts) for model in (plain, fast))
    torch.testing.assert_close(one, other)


def test_a_mixed_batch_computes_only_the_loops_that_were_asked_for():
    model, rows = speed_up(build()), []
    model.core[0].register_forward_hook(lambda _, inputs, output: rows.append(len(inputs[0])))
    model(tokens(), torch.tensor(COUNTS))
    assert sum(rows) == sum(COUNTS)


def test_truncated_loops_keep_no_activations():
    def kept(loops):
        model, sizes = speed_up(build(backprop_loops=2)), []

        def pack(tensor):
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.think(tokens(), loops)
        return sum(sizes)

    assert kept(40) == kept(4) > kept(1)


class ThinksTwice(LoopedGPT):
    """A model whose own think starts a second time from where it stopped."""

    def think(self, tokens, loops=None, h=None):
        return super().think(tokens, loops, super().think(tokens, loops, h))


class Halved(LoopedGPT):
    """A model whose states go on from half of the first."""

    def states(self, tokens, loops=None, h=None):
        first = self.begin(tokens)[0] if h is None else h
        return super().states(tokens, loops, first / 2)


@pytest.mark.parametrize("kind", (ThinksTwice, Halved))
def test_a_subclass_that_thinks_in_its_own_way_keeps_it(kind):
    plain, x, counts = build(model=kind), tokens(), torch.tensor(COUNTS)
    fast = speed_up(copy.deepcopy(plain))
    assert "think" not in vars(fast)
    torch.testing.assert_close(fast.think(x, counts), plain.think(x, counts))
    h, e, positions = plain.begin(x)
    h = h / 2 if kind is Halved else h
    for t in range(4 if kind is Halved else 8):
        h = plain.loop(h, e, t, positions)
    torch.testing.assert_close(fast.think(x, 4), h)
    with pytest.raises(ValueError, match="--checkpoint_loops works for models"):
        checkpoint_loops(fast, 2)


# ---- which parts are replaced


def test_only_the_plain_parts_are_replaced():
    class MyAttention(Attention):
        pass

    model = build()
    model.core[0].attention.__class__ = MyAttention
    before = {name: p for name, p in model.named_parameters()}
    assert speed_up(model) is model and type(model.core[0].attention) is MyAttention
    assert (
        all(p is before[name] for name, p in model.named_parameters())
        and type(model.norm) is FastRMSNorm
    )


def test_the_second_path_of_attention_is_taken_where_the_bias_learns_and_equals_the_first():
    attention = build(causal=False).core[0].attention.double()
    q, k, v = torch.randn(
        3, 2, 2, T, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0)
    )
    bias = torch.randn(
        2, T, T, dtype=torch.double, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    plain = attention.attend(q, k, v, bias)
    fast = FastAttention.attend(attention, q, k, v, bias)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(
        *(torch.autograd.grad(y.square().sum(), bias) for y in (fast, plain))
    )
    assert not torch.equal(FastAttention.attend(attention, q, k, v, 2 * bias), fast)
    x = torch.randn(2, T, 16, dtype=torch.double)
    with pytest.MonkeyPatch.context() as patch:  # without a gradient PyTorch's own is as quick
        patch.setattr(F, "scaled_dot_product_attention", lambda q, *_, **__: torch.zeros_like(q))
        attention.__class__ = FastAttention
        assert attention(x, PositionTerms(None, bias.detach())).eq(0).all()
        assert attention(x, PositionTerms(None, bias)).ne(0).any()


def test_runs_train_a_model_with_its_twins():
    flags, _ = train.parse_flags(["--task", "multihop", "--n_embd", "16", "--n_head", "2"])
    model = make_model(flags, make_task(flags))
    assert {FastRMSNorm, FastAttention} <= {type(module) for module in model.modules()}
    assert "think" in vars(model)


# ---- loops computed twice


def kept_by_autograd(model, x, loops):
    """Numbers that the backward pass of a think keeps, each storage once."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        h = model.think(x, loops)
    assert h.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("position", ("relative", "rope"))
@pytest.mark.parametrize("k", (1, 3, 20))
def test_checkpointed_loops_have_the_gradient_of_all_and_keep_little(k, position):
    settings = dict(position=position, n_prelude=1, n_core=2, n_coda=1, reembed=True)
    counts = torch.tensor([7, 1, 4, 4, 9])
    plain, saving = speed_up(build(**settings)), speed_up(build(**settings))
    checkpoint_loops(saving, k)
    for loops in (8, counts):
        one, other = (
            gradients(model, model(tokens(), loops).square().sum()) for model in (plain, saving)
        )
        assert all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-5) for name in one)
    if k < 20:
        more = [kept_by_autograd(saving, tokens(), loops) for loops in (12, 24)]
        assert (more[1] - more[0]) * k <= 12 * B * T * 16 * 1.1  # one state of k loops
        assert kept_by_autograd(plain, tokens(), 24) > 10 * more[1]


@pytest.mark.parametrize("k", (1, 2, 4))
def test_checkpointed_loops_know_which_they_are(k):
    model, x = build(model=StepSignal, n_core=2).double(), tokens()
    counts = torch.tensor(COUNTS)
    by_hand = steps_by_hand(model, x, 6)[counts, torch.arange(B)]
    one = gradients(model, model.readout(by_hand).square().mean())
    checkpoint_loops(model, k)
    torch.testing.assert_close(model.think(x, counts), by_hand)
    other = gradients(model, model(x, counts).square().mean())
    for name in one:
        torch.testing.assert_close(other[name], one[name])


def test_a_copy_of_a_checkpointed_model_has_weights_of_its_own():
    model, x = build(), tokens()
    checkpoint_loops(model, 2)
    check_copy(model, x)


# ---- compiled loops


class Compilations:
    """A compiler that compiles nothing and counts how often it is asked."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, example):
        self.graphs += 1
        return graph.forward


@pytest.fixture
def compiler(monkeypatch):
    torch._dynamo.reset()
    counter = Compilations()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5),
    reason="PyTorch 2.4 compiles each layer apart",
)
@pytest.mark.parametrize("tied", (True, False))
def test_sampled_loop_counts_never_recompile(tied, compiler):
    settings = dict(n_prelude=1, n_core=1 if tied else 2, reembed=True, tied=tied, loops=9)
    plain, model = build(**settings).double(), speed_up(build(**settings).double())
    compile_loop(model)
    graphs = []
    for seed, rows in enumerate((13, 13, 12, 13, 9)):
        counts = torch.randint(1, 10, (rows,), generator=torch.Generator().manual_seed(seed))
        counts[0] = 9  # so that every layer of the untied model has a gradient
        one, other = (
            gradients(each, each(tokens(seed, rows), counts).square().sum())
            for each in (plain, model)
        )
        assert all(torch.allclose(one[name], other[name]) for name in one)
        graphs.append(compiler.graphs)
    # untied: a batch of one row is compiled apart
    assert graphs[0] > 0 and graphs[-1] <= graphs[0] + (not tied)


class StepSignalByModule(StepSignal):
    """The same, as a student may write it, too."""

    def loop(self, h, e, t, positions):
        signal = self.step(torch.tensor(t))
        return LoopedGPT.loop(self, h + signal, e, t, positions)


@pytest.mark.parametrize(
    "model", (StepSignal, pytest.param(StepSignalByModule, marks=pytest.mark.slow))
)
def test_a_compiled_loop_of_ones_own_is_told_which_loop_it_is(model, compiler):
    model, x = build(model=model).double(), tokens()
    counts = torch.tensor([5, 2, 12, 2, 3])
    states = steps_by_hand(model, x, 12)  # more loops than PyTorch compiles anew
    by_hand = states[counts, torch.arange(B)]
    one = gradients(model, model.readout(by_hand).square().mean())
    compile_loop(model)
    torch.testing.assert_close(model.trajectory(x, 12), states)
    torch.testing.assert_close(model.think(x, counts), by_hand)
    # one row alone is not compiled
    torch.testing.assert_close(model.think(x[:1], 12), states[12, :1])
    other = gradients(model, model(x, counts).square().mean())
    for name in one:
        torch.testing.assert_close(other[name], one[name])
    assert compiler.graphs > 0
    check_copy(model, x)


def test_a_loop_edited_in_its_class_is_the_one_that_is_compiled(compiler, monkeypatch):
    def doubled(self, h, e, t, positions):
        return self.core[0](2 * h + e, positions)

    monkeypatch.setattr(LoopedGPT, "loop", doubled)
    model, x = build(), tokens()
    h, e, positions = model.begin(x)
    by_hand = model.core[0](2 * model.core[0](2 * h + e, positions) + e, positions)
    compile_loop(model)
    torch.testing.assert_close(model.think(x, 2), by_hand)
    assert compiler.graphs > 0
    check_copy(model, x)


def check_copy(model, x):
    """A copy goes on with the weights it was given, whatever becomes of those of the original."""
    before = model(x, 3)
    twin = copy.deepcopy(model)
    for p in (*model.core.parameters(), *getattr(model, "step", model.norm).parameters()):
        p.data.zero_()
    torch.testing.assert_close(twin(x, 3), before)
    assert not torch.allclose(model(x, 3), before, atol=1e-2)


def test_compiled_and_checkpointed_at_once_is_still_the_loop(compiler):
    model, x = build(model=StepSignal).double(), tokens()
    counts = torch.tensor(COUNTS)
    by_hand = steps_by_hand(model, x, 6)[counts, torch.arange(B)]
    one = gradients(model, model.readout(by_hand).square().mean())
    compile_loop(model)
    checkpoint_loops(model, 2)
    other = gradients(model, model(x, counts).square().mean())
    for name in one:
        torch.testing.assert_close(other[name], one[name])
    check_copy(model, x)
