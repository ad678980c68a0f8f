"""The loop against things computed another way."""

import copy
import functools
import itertools
import math
from collections import defaultdict

import pytest
import torch
from torch.nn import functional as F

from looped import Config, LoopedGPT, RMSNorm, RMSNormByHand

VOCAB, B, T = 11, 5, 7
TEXT_POSITIONS = ("none", "rope", "alibi", "relative", "learned")


def build(seed=0, **changes):
    """A small model with parameters far from their start, so that no gain or bias hides at 1 or 0."""
    torch.manual_seed(seed)
    settings = dict(vocab_size=VOCAB, block_size=16, n_embd=16, n_head=2, loops=4)
    model = LoopedGPT(Config(**{**settings, **changes}))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def tokens(seed=1, rows=B, length=T):
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def gradients(model, loss):
    """The gradient of every parameter; there is none that the loss does not depend on."""
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


# ---- the forward pass, written a second time: explicit softmax, one head and one position at a time


def rms(x, weight):
    return x / (x.pow(2).mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt() * weight


def norm(module, x):
    return rms(x, module.weight) if hasattr(module, "weight") else x


def reference_attention(model, block, x):
    config, (B, T, C) = model.config, x.shape
    D = C // config.n_head
    q, k, v = (x @ block.attention.qkv.weight.T).split(C, dim=-1)
    out = torch.zeros_like(x)
    for b, head, i in itertools.product(range(B), range(config.n_head), range(T)):
        part = slice(head * D, (head + 1) * D)
        scores = []
        for j in range(T):
            query, key = q[b, i, part].clone(), k[b, j, part].clone()
            if config.position == "rope":  # the pair (c, c + D/2) as a complex number, turned by its position
                turn = 10000.0 ** (-2 * torch.arange(D // 2) / D)
                query = torch.complex(query[: D // 2], query[D // 2 :]) * torch.polar(torch.ones(D // 2), i * turn)
                key = torch.complex(key[: D // 2], key[D // 2 :]) * torch.polar(torch.ones(D // 2), j * turn)
                score = (query * key.conj()).real.sum() / math.sqrt(D)
            else:
                score = query @ key / math.sqrt(D)
            if config.position == "alibi":
                score = score - abs(i - j) * 2 ** (-8 * (head + 1) / config.n_head)
            if config.position == "relative":
                score = score + model.bias[head, min(abs(i - j), config.reach - 1)]
            if config.position == "grid":
                a, c = config.coordinates[i], config.coordinates[j]
                score = score + model.bias[head, sum(2**axis for axis in range(len(a)) if a[axis] == c[axis])]
            scores.append(score if j <= i or not config.causal else torch.tensor(-torch.inf))
        weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        out[b, i, part] = sum(weights[j] * v[b, j, part] for j in range(T))
    return out @ block.attention.out.weight.T


def reference_block(model, block, x):
    x = norm(block.after[0], x + reference_attention(model, block, norm(block.before[0], x)))
    hidden = norm(block.before[1], x) @ block.mlp[0].weight.T
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return norm(block.after[1], x + hidden @ block.mlp[2].weight.T)


def reference_forward(model, tokens, loops):
    config = model.config
    x = model.embed.weight[tokens]
    if config.position == "learned":
        x = x + model.place.weight[: tokens.shape[1]]
    for block in model.prelude:
        x = reference_block(model, block, x)
    e = rms(x, model.prelude_norm.weight)
    h = torch.zeros_like(e) if config.state_init == "zeros" else e
    for _ in range(loops):
        if config.injection == "add":
            h = h + e
        if config.injection == "concat":
            h = h @ model.inject.mix.weight[:, : config.n_embd].T + e @ model.inject.mix.weight[:, config.n_embd :].T
        if config.injection == "diagonal":
            dt = torch.log(1 + torch.exp(model.inject.dt))
            h = torch.exp(-dt * torch.exp(model.inject.log_a)) * h + dt * (e @ model.inject.enter.weight.T)
        for block in model.core:
            h = reference_block(model, block, h)
        if config.reembed:
            p = (rms(h, model.norm.weight) @ model.embed.weight.T).softmax(-1)
            directions = model.embed.weight / model.embed.weight.pow(2).sum(1, keepdim=True).sqrt()
            h = h + model.reembed_gate * math.sqrt(config.n_embd) * (p @ directions)
    for block in model.coda:
        h = reference_block(model, block, h)
    return rms(h, model.norm.weight) @ model.embed.weight.T


BOARD = tuple((cell // 3, cell % 3) for cell in range(6))


@pytest.mark.parametrize(
    "changes",
    [dict(injection=i, norm=n) for i in ("none", "add", "concat", "diagonal") for n in ("pre", "post", "sandwich")]
    + [dict(position=p) for p in TEXT_POSITIONS]
    + [dict(position="grid", coordinates=BOARD, causal=False), dict(causal=False), dict(reembed=True)]
    + [dict(state_init="zeros"), dict(n_prelude=1, n_core=2, n_coda=1)],
    ids=str,
)
@torch.no_grad()
def test_forward_equals_a_second_writing_of_it(changes):
    model, x = build(**changes), tokens(rows=2, length=6)
    torch.testing.assert_close(model(x, 3), reference_forward(model, x, 3), rtol=1e-4, atol=1e-4)


# ---- the loop


def unrolled_twin(model):
    """An untied model whose layers are copies of the tied model's core, once for each loop."""
    twin = build(**{**vars(model.config), "tied": False})
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("core.")}
    n = model.config.n_core
    for i, block in enumerate(twin.core):
        weights.update({f"core.{i}.{k}": v for k, v in model.core[i % n].state_dict().items()})
    twin.load_state_dict(weights)
    return twin


@pytest.mark.parametrize("n_core", (1, 2))
def test_tied_model_equals_its_unrolled_twin_and_its_gradient_the_sum_over_the_copies(n_core):
    model = build(n_core=n_core, n_prelude=1, n_coda=1, reembed=True)
    twin, x = unrolled_twin(model), tokens()
    torch.testing.assert_close(model(x), twin(x))
    tied, untied = gradients(model, model(x).square().mean()), gradients(twin, twin(x).square().mean())
    for name, gradient in tied.items():
        if name.startswith("core."):
            _, layer, rest = name.split(".", 2)
            copies = range(int(layer), len(twin.core), n_core)
            torch.testing.assert_close(gradient, sum(untied[f"core.{i}.{rest}"] for i in copies))
        else:
            torch.testing.assert_close(gradient, untied[name])


@pytest.mark.parametrize("k", (1, 2, 3))
def test_truncated_backpropagation_is_full_backpropagation_through_the_last_k_loops(k):
    model, x = build(backprop_loops=k, n_prelude=1), tokens()
    truncated = gradients(model, model(x, 5).square().mean())
    _, e, geometry = model.begin(x)
    h = model.trajectory(x, 5 - k)[-1].detach()
    for t in range(5 - k, 5):
        h = model.loop(h, e, t, geometry)
    full = gradients(model, model.readout(h).square().mean())
    assert truncated.keys() == full.keys()
    for name in full:
        torch.testing.assert_close(truncated[name], full[name])


@pytest.mark.parametrize("k", (0, 2))
def test_a_loop_count_for_each_sequence_equals_running_each_alone(k):
    model, x = build(backprop_loops=k), tokens()
    loops = torch.tensor([3, 1, 6, 2, 3])
    together = model(x, loops)
    alone = torch.cat([model(x[i : i + 1], int(n)) for i, n in enumerate(loops)])
    torch.testing.assert_close(together, alone)
    one, other = gradients(model, together.square().sum()), gradients(model, alone.square().sum())
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_a_mixed_batch_computes_only_the_loops_that_were_asked_for():
    model, rows = build(), []
    model.core[0].register_forward_hook(lambda _, inputs, output: rows.append(len(inputs[0])))
    model(tokens(), torch.tensor([3, 1, 6, 2, 3]))
    assert sum(rows) == 3 + 1 + 6 + 2 + 3


def test_truncated_loops_keep_no_activations():
    def kept(loops):
        model, sizes = build(backprop_loops=2), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            model(tokens(), loops)
        return sum(sizes)

    assert kept(40) == kept(4) > kept(1)


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
    plain, saving = build(**settings), build(**settings, checkpoint_loops=k)
    for loops in (8, counts):
        one, other = (gradients(model, model(tokens(), loops).square().sum()) for model in (plain, saving))
        assert all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-5) for name in one)
    if k < 20:
        more = [kept_by_autograd(saving, tokens(), loops) for loops in (12, 24)]
        assert (more[1] - more[0]) * k <= 12 * B * T * 16 * 1.1  # one state of k loops
        assert kept_by_autograd(plain, tokens(), 24) > 10 * more[1]


@pytest.mark.parametrize("scale", (1e-6, 1.0, 1e6))
def test_the_norm_by_hand_is_pytorchs_and_its_gradient_that_of_finite_differences(scale):
    torch.manual_seed(0)
    ours, theirs, x = RMSNorm(8), torch.nn.RMSNorm(8), scale * torch.randn(3, 5, 8)
    ours.weight.data = theirs.weight.data = torch.randn(8)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours(torch.zeros(2, 8)).eq(0).all()
    x, weight = x.double().requires_grad_(), torch.randn(8, dtype=torch.double, requires_grad=True)
    results = []
    for norm in (RMSNormByHand.apply, lambda x, weight, eps: F.rms_norm(x, (8,), weight, eps)):
        y = norm(x, weight, 1e-7)
        results.append((y, *torch.autograd.grad(y, (x, weight), torch.sin(torch.arange(120.0)).view(3, 5, 8).double())))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)
    if scale == 1:
        assert torch.autograd.gradcheck(RMSNormByHand.apply, (x, weight, 1e-7))


class Compilations:
    """A compiler that compiles nothing and counts how often it is asked."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, example):
        self.graphs += 1
        return graph.forward


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5), reason="PyTorch 2.4 compiles each layer apart"
)
@pytest.mark.parametrize("tied", (True, False))
def test_sampled_loop_counts_never_recompile(tied, monkeypatch):
    torch._dynamo.reset()
    settings = dict(n_prelude=1, n_core=2, n_coda=1, reembed=True, tied=tied, loops=9)
    plain, model, counter = build(**settings).double(), build(**settings).double(), Compilations()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    model.compile_loop()
    graphs = []
    for seed, rows in enumerate((13, 13, 12, 13, 9)):
        counts = torch.randint(1, 10, (rows,), generator=torch.Generator().manual_seed(seed))
        counts[0] = 9  # so that every layer of the untied model has a gradient
        one, other = (gradients(each, each(tokens(seed, rows), counts).square().sum()) for each in (plain, model))
        assert all(torch.allclose(one[name], other[name]) for name in one)
        graphs.append(counter.graphs)
    assert graphs[0] > 0 and graphs[-1] <= graphs[0] + (not tied)  # untied: a batch of one row is compiled apart
    torch._dynamo.reset()


def test_trajectory_ends_where_think_ends_and_begins_before_the_first_loop():
    model, x = build(n_prelude=1), tokens()
    states = model.trajectory(x, 4)
    assert states.shape == (5, B, T, 16)
    torch.testing.assert_close(states[0], model.begin(x)[0])
    for loops in (1, 4):
        torch.testing.assert_close(model.readout(states[loops]), model(x, loops))


@pytest.mark.parametrize("injection", ("none", "add", "concat", "diagonal"))
@pytest.mark.parametrize("norm", ("pre", "post", "sandwich"))
def test_looping_matters_at_initialisation(injection, norm):
    torch.manual_seed(0)
    model = LoopedGPT(Config(VOCAB, 16, injection=injection, norm=norm))
    x = tokens()
    one, two = model(x, 1), model(x, 2)
    assert (one - two).abs().max() > 0.01 * one.std()
    for name, gradient in gradients(model, F.cross_entropy(two.flatten(0, 1), x.flatten())).items():
        assert gradient.abs().max() > 0, name


def test_diagonal_injection_is_a_contraction_for_any_parameters():
    model = build(injection="diagonal").double()
    for scale in (0.1, 1, 4):
        for parameter in (model.inject.log_a, model.inject.dt):
            torch.nn.init.normal_(parameter, std=scale)
        h, g, e = torch.randn(3, 50, 16, dtype=torch.double)
        moved = (model.inject(h, e) - model.inject(g, e)).abs()
        assert (moved < (h - g).abs()).all()


def test_randomised_positions_are_rotary_ones_with_gaps_in_training_alone():
    model, x = build(position="randomised"), tokens()
    plain = build(position="rope")
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x, 3), plain(x, 3))
    # angles of a place: one radian for the first pair of channels, a hundredth of it for the third
    rotations = torch.stack([torch.stack(model.train().geometry(T)[0])[..., [0, 2]] for _ in range(50)])
    fine, coarse = torch.atan2(-rotations[:, 1], rotations[:, 0]).unbind(-1)
    places = torch.round((100 * coarse - fine) / (2 * math.pi)) * 2 * math.pi + fine
    gaps = places.diff(dim=1)
    torch.testing.assert_close(places, places.round(), atol=1e-3, rtol=0)
    assert places.min() > -0.5 and places.max() < 8 * model.config.block_size
    assert gaps.min() > 0.5 and gaps.mean() > 3 and len(places.round().unique(dim=0)) > 45


def test_a_readout_of_some_positions_is_a_part_of_the_whole():
    model, x = build(n_coda=1), tokens()
    asked = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    h = model.think(x, 3)
    torch.testing.assert_close(model.readout(h, asked=asked), model.readout(h)[asked])


@pytest.mark.parametrize("position", TEXT_POSITIONS)
def test_a_causal_model_never_looks_ahead(position):
    model, x = build(position=position, n_prelude=1, n_coda=1, reembed=True), tokens()
    for cut in range(1, T):
        other = x.clone()
        other[:, cut:] = (other[:, cut:] + 1) % VOCAB
        before, after = model(x, 3), model(other, 3)
        torch.testing.assert_close(before[:, :cut], after[:, :cut])
        assert (before[:, cut] - after[:, cut]).abs().max() > 1e-4


def test_without_causality_every_position_sees_every_other():
    model, x = build(causal=False, position="none"), tokens()
    other = x.clone()
    other[:, -1] = (other[:, -1] + 1) % VOCAB
    assert ((model(x, 2) - model(other, 2)).abs().amax(-1) > 1e-5).all()


def test_a_grid_knows_only_which_coordinates_cells_share():
    model, x = build(position="grid", coordinates=BOARD, causal=False), tokens(length=6)
    swap = torch.tensor([3, 4, 5, 0, 1, 2])  # the two rows of the board
    torch.testing.assert_close(model(x, 3)[:, swap], model(x[:, swap], 3))
    turn = torch.tensor([1, 0, 2, 3, 4, 5])  # two cells of one row only: another board
    assert (model(x, 3)[:, turn] - model(x[:, turn], 3)).abs().max() > 1e-4


def test_noise_starts_elsewhere_each_time_and_zeros_nowhere():
    noisy, x = build(state_init="noise"), tokens()
    assert not torch.equal(noisy(x, 1), noisy(x, 1))
    assert build(state_init="zeros").trajectory(x, 1)[0].abs().max() == 0


# ---- stopping


def test_solve_with_a_rule_that_never_fires_equals_forward():
    model, x = build(), tokens()
    for rule in ("fixed", "settle", "kl", "entropy"):
        logits, used = model.solve(x, rule=rule, threshold=-1.0, max_loops=6)
        torch.testing.assert_close(logits, model(x, 6))
        assert used.tolist() == [6] * B


def test_solve_without_settings_works_for_tied_and_untied():
    assert build().solve(tokens())[1].max() <= 64
    assert build(tied=False, loops=3).solve(tokens(), rule="kl", threshold=-1)[1].tolist() == [3] * B


@pytest.mark.parametrize("rule", ("settle", "kl", "entropy"))
@torch.no_grad()
def test_solve_stops_each_sequence_at_the_first_loop_that_meets_the_rule(rule):
    model, x = build(), tokens(rows=12)
    asked = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    asked[:, -1] = True
    states = model.trajectory(x, 8)
    measures = []
    for t in range(1, 9):
        p, q = model.readout(states[t]).softmax(-1), model.readout(states[t - 1]).softmax(-1)
        if rule == "settle":
            each = [(states[t, i] - states[t - 1, i]).norm() / states[t, i].norm() for i in range(12)]
        elif rule == "kl":
            each = [F.kl_div(q[i].log(), p[i], reduction="none").sum(-1)[asked[i]].max() for i in range(12)]
        else:
            each = [torch.distributions.Categorical(p[i]).entropy()[asked[i]].max() for i in range(12)]
        measures.append(torch.stack(each))
    measures = torch.stack(measures)  # (8, 12)
    threshold = measures.flatten().quantile(0.3).item()
    logits, used = model.solve(x, rule=rule, threshold=threshold, max_loops=8, asked=asked)
    expected = [next((t + 1 for t in range(8) if measures[t, i] < threshold), 8) for i in range(12)]
    assert used.tolist() == expected and len(set(expected)) > 1
    torch.testing.assert_close(logits, torch.cat([model(x[i : i + 1], n) for i, n in enumerate(expected)]))


@pytest.mark.parametrize("position", TEXT_POSITIONS)
@torch.no_grad()
def test_cached_generation_equals_uncached(position):
    model, x = build(position=position, n_prelude=1, n_core=2, n_coda=1, reembed=True), tokens(length=3)
    for loops in (1, 2, 5):
        by_hand = x
        torch.manual_seed(0)
        for _ in range(9):
            p = (model(by_hand, loops)[:, -1] / 3).softmax(-1)
            by_hand = torch.cat((by_hand, torch.multinomial(p, 1)), dim=1)
        for use_cache in (
            True,
            False,
        ):  # sampled, because a model without training would only repeat its likeliest token
            torch.manual_seed(0)
            assert torch.equal(by_hand, model.generate(x, 9, loops=loops, temperature=3.0, use_cache=use_cache))
        greedy = model.generate(x, 9, loops=loops)
        assert torch.equal(greedy, model.generate(x, 9, loops=loops, use_cache=False))
        assert torch.equal(greedy[:, -1], model(greedy[:, :-1], loops)[:, -1].argmax(-1))


@pytest.mark.parametrize("share", ("first", "last"))
@torch.no_grad()
def test_a_shared_cache_shows_new_tokens_the_earlier_ones_as_they_were_in_one_loop(share):
    model, x, loops = build(position="rope"), tokens(), 4
    cache, logits = defaultdict(list), []
    for i in range(T):
        logits.append(model.decode(x[:, i : i + 1], cache, i, loops, share))
    assert len(cache) == 1  # one layer, one loop
    # the same by hand: the layer runs over what earlier tokens gave it in that loop, and the new token as it is now
    _, e, geometry = model.begin(x)
    earlier = []
    for i in range(T):
        h = e[:, i]
        for t in range(loops):
            now = model.inject(h, e[:, i])
            sequence = torch.stack((*earlier, now), dim=1)
            h = model.core[0](sequence, *model.geometry(i + 1))[:, -1]
            if t == (0 if share == "first" else loops - 1):
                given = now
        earlier.append(given)
        torch.testing.assert_close(logits[i][:, 0], model.head(h), rtol=1e-4, atol=1e-5)
    exact = model(x, loops)
    assert not torch.allclose(torch.cat(logits, dim=1), exact, atol=1e-2)
    prompt = model.decode(x, defaultdict(list), 0, loops, share)  # nothing is borrowed within a prompt
    torch.testing.assert_close(prompt, exact)


def test_generation_samples_from_the_temperature_softmax():
    model, x = build(), tokens(rows=1).expand(4000, T)
    torch.manual_seed(0)
    drawn = model.generate(x, 1, loops=2, temperature=2.0)[:, -1]
    expected = (model(x[:1], 2)[0, -1] / 2).softmax(-1)
    assert (torch.bincount(drawn, minlength=VOCAB) / 4000 - expected).abs().max() < 0.04


# ---- what is refused


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(n_embd=10, n_head=4), "divisible"),
        (dict(n_embd=6, n_head=2, position="rope"), "even"),
        (dict(loops=0), "loops"),
        (dict(n_prelude=-1), "n_prelude"),
        (dict(norm="layer"), "pre, post, sandwich"),
        (dict(position="grid"), "coordinates"),
        (dict(injection="none", state_init="zeros"), "never see"),
        (dict(injection="none", backprop_loops=2), "gradient"),
        (dict(checkpoint_loops=2, backprop_loops=2), "choose one"),
    ],
)
def test_configs_that_cannot_work_say_why(changes, words):
    with pytest.raises(ValueError, match=words):
        build(**changes)


def test_loop_counts_that_cannot_work_say_why():
    with pytest.raises(ValueError, match="at least 1"):
        build()(tokens(), 0)
    with pytest.raises(ValueError, match="at least 1"):
        build()(tokens(), torch.tensor([1, 2, 0, 1, 1]))
    with pytest.raises(ValueError, match="untied"):
        build(tied=False, loops=3)(tokens(), 4)
    with pytest.raises(ValueError, match="each sequence"):
        build().trajectory(tokens(), torch.tensor([1] * B))
    with pytest.raises(ValueError, match="each sequence"):
        build().generate(tokens(), 1, loops=torch.tensor([1] * B))
    with pytest.raises(ValueError, match="6 cells"):
        build(position="grid", coordinates=BOARD, causal=False)(tokens(length=7))
    with pytest.raises(ValueError, match="block_size"):
        build(position="learned")(tokens(length=17))
    with pytest.raises(ValueError, match="causal"):
        build(causal=False).generate(tokens(), 1)
    with pytest.raises(ValueError, match="none, first, last"):
        build().generate(tokens(), 1, share="some")
    with pytest.raises(ValueError, match="settle"):
        build().solve(tokens(), rule="never")


# ---- precision, and models that were copied


@pytest.mark.parametrize("changes", (dict(injection="concat"), dict(injection="diagonal", position="rope"), dict()))
def test_autocast_keeps_the_state_in_float32_and_the_gradient_close(changes):
    model, x = build(norm="sandwich", n_core=2, n_coda=1, **changes), tokens()
    exact = gradients(model, model(x, 4).square().mean())
    with torch.autocast("cpu", torch.bfloat16):
        assert all(h.dtype == torch.float32 for h in model.states(x, 4))
        loss = model(x, 4).float().square().mean()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.solve(x, max_loops=3)[1].max() == 3
    rough = gradients(model, loss)
    for name, gradient in exact.items():
        assert (rough[name] - gradient).norm() < 0.25 * gradient.norm() + 1e-3, name


@pytest.mark.parametrize("position", TEXT_POSITIONS)
def test_a_model_in_bfloat16_runs_at_every_position(position):
    model, x = build(position=position), tokens()
    exact = model(x, 2)
    assert (model.bfloat16()(x, 2).float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_randomised_positions_have_no_gaps_in_generation_even_in_training_mode():
    model, x = build(position="randomised").train(), tokens()
    cached = torch.cat(
        [model.decode(x[:, i : i + 1], cache, i, 3) for cache in [defaultdict(list)] for i in range(T)], 1
    )
    torch.testing.assert_close(cached, model.eval()(x, 3), rtol=1e-4, atol=1e-5)


def test_a_copy_of_a_compiled_model_has_weights_of_its_own(monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=Compilations()))
    model, x = build(), tokens()
    model.compile_loop()
    before = model(x, 3)
    twin = copy.deepcopy(model)
    for p in model.core.parameters():
        p.data.zero_()
    torch.testing.assert_close(twin(x, 3), before)
    assert not torch.allclose(model(x, 3), before, atol=1e-2)
    torch._dynamo.reset()
