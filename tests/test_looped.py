"""The loop against things computed another way."""

import itertools
import math

import pytest
import torch
from helpers import BOARD, TEXT_POSITIONS, VOCAB, B, T, build, gradients, tokens
from torch import nn
from torch.nn import functional as F

from attention import Cache
from looped import EXIT_RULES, IGNORE, Config, LoopedGPT

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
            if config.position == "window" and abs(i - j) >= config.reach:
                score = torch.tensor(-torch.inf)
            if config.position in ("relative", "window"):
                score = score + model.positions.bias[head, min(abs(i - j), config.reach - 1)]
            if config.position == "grid":
                a, c = config.coordinates[i], config.coordinates[j]
                score = score + model.positions.bias[head, sum(2**axis for axis in range(len(a)) if a[axis] == c[axis])]
            scores.append(score if j <= i or not config.causal else torch.tensor(-torch.inf))
        weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        out[b, i, part] = sum(weights[j] * v[b, j, part] for j in range(T))
    return out @ block.attention.out.weight.T


def reference_block(model, block, x):
    x = norm(block.after_attention, x + reference_attention(model, block, norm(block.before_attention, x)))
    hidden = norm(block.before_mlp, x) @ block.mlp[0].weight.T
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return norm(block.after_mlp, x + hidden @ block.mlp[2].weight.T)


def reference_forward(model, tokens, loops):
    config = model.config
    x = model.embed.weight[tokens]
    for block in model.prelude:
        x = reference_block(model, block, x)
    e = rms(x, model.prelude_norm.weight)
    h = torch.zeros_like(e) if config.state_init == "zeros" else e
    for _ in range(loops):
        if config.injection == "add":
            h = h + e
        if config.injection == "concat":
            h = h @ model.inject.weight[:, : config.n_embd].T + e @ model.inject.weight[:, config.n_embd :].T
        if config.injection == "diagonal":
            dt = torch.log(1 + torch.exp(model.inject.raw_dt))
            h = torch.exp(-dt * torch.exp(model.inject.log_rate)) * h + dt * (e @ model.inject.weight.T)
        for block in model.core:
            h = reference_block(model, block, h)
        if config.reembed:
            p = (rms(h, model.norm.weight) @ model.embed.weight.T).softmax(-1)
            directions = model.embed.weight / model.embed.weight.pow(2).sum(1, keepdim=True).sqrt()
            h = h + model.reembed_gate * math.sqrt(config.n_embd) * (p @ directions)
    for block in model.coda:
        h = reference_block(model, block, h)
    return rms(h, model.norm.weight) @ model.embed.weight.T


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
    _, e, where = model.begin(x)
    h = model.trajectory(x, 5 - k)[-1].detach()
    for t in range(5 - k, 5):
        h = model.loop(h, e, t, where)
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
        for parameter in (model.inject.log_rate, model.inject.raw_dt):
            torch.nn.init.normal_(parameter, std=scale)
        h, g, e = torch.randn(3, 50, 16, dtype=torch.double)
        moved = (model.inject(h, e) - model.inject(g, e)).abs()
        assert (moved < (h - g).abs()).all()


def test_a_readout_of_some_positions_is_a_part_of_the_whole():
    model, x = build(n_coda=1), tokens()
    answers = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    h = model.think(x, 3)
    torch.testing.assert_close(model.readout(h, answers), model.readout(h)[answers])


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
    answers = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    answers[:, -1] = True
    states = model.trajectory(x, 8)
    measures = []
    for t in range(1, 9):
        p, q = model.readout(states[t]).softmax(-1), model.readout(states[t - 1]).softmax(-1)
        if rule == "settle":
            each = [(states[t, i] - states[t - 1, i]).norm() / states[t, i].norm() for i in range(12)]
        elif rule == "kl":
            each = [F.kl_div(q[i].log(), p[i], reduction="none").sum(-1)[answers[i]].max() for i in range(12)]
        else:
            each = [torch.distributions.Categorical(p[i]).entropy()[answers[i]].max() for i in range(12)]
        measures.append(torch.stack(each))
    measures = torch.stack(measures)  # (8, 12)
    threshold = measures.flatten().quantile(0.3).item()
    logits, used = model.solve(x, rule=rule, threshold=threshold, max_loops=8, answer_mask=answers)
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
        torch.manual_seed(0)  # sampled, because a model without training would only repeat its likeliest token
        assert torch.equal(by_hand, model.generate(x, 9, loops=loops, temperature=3.0))
        greedy = model.generate(x, 9, loops=loops)
        assert torch.equal(greedy[:, -1], model(greedy[:, :-1], loops)[:, -1].argmax(-1))


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
        (dict(loss="every", backprop_loops=2), "backprop_loops"),
        (dict(loss="last"), "final, every"),
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
        build().trajectory(tokens(), torch.tensor([1] * (B - 1) + [2]))
    with pytest.raises(ValueError, match="each sequence"):
        build().generate(tokens(), 1, loops=torch.tensor([1] * (B - 1) + [2]))
    with pytest.raises(ValueError, match="6 cells"):
        build(position="grid", coordinates=BOARD, causal=False)(tokens(length=7))
    with pytest.raises(ValueError, match="causal"):
        build(causal=False).generate(tokens(), 1)
    with pytest.raises(ValueError, match="settle"):
        build().solve(tokens(), rule="never")


# ---- precision


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


# ---- a first state, handed in


@pytest.mark.parametrize("state_init", ("embed", "zeros", "noise"))
def test_a_first_state_continues_where_another_call_stopped(state_init):
    model, x = build(state_init=state_init, n_prelude=1, n_core=2, n_coda=1, reembed=True), tokens()
    h, e, where = model.begin(x)
    by_hand = [h]
    for t in range(5):
        by_hand.append(model.loop(by_hand[-1], e, t, where))
    by_hand = torch.stack(by_hand)
    torch.testing.assert_close(model.trajectory(x, 5, h=h), by_hand)
    torch.testing.assert_close(model.trajectory(x, 2, h=by_hand[3]), by_hand[3:])
    torch.testing.assert_close(torch.stack(list(model.states(x, 2, h=by_hand[3]))), by_hand[3:])
    torch.testing.assert_close(model.think(x, 2, h=by_hand[3]), by_hand[5])
    torch.testing.assert_close(model.think(x, 2, model.think(x, 3, h)), by_hand[5])
    counts = torch.tensor([3, 1, 5, 2, 3])  # a row keeps its own first state though rows are sorted by their counts
    torch.testing.assert_close(model.think(x, counts, h=h), by_hand[counts, torch.arange(B)])


def test_the_gradient_reaches_back_through_a_first_state():
    model, x = build(n_prelude=1, reembed=True).double(), tokens()
    at_once = gradients(model, model(x, 5).square().mean())
    for continue_from in (lambda h: model.think(x, 2, h), lambda h: model.trajectory(x, 2, h)[-1]):
        in_two = gradients(model, model.readout(continue_from(model.think(x, 3))).square().mean())
        for name in at_once:
            torch.testing.assert_close(in_two[name], at_once[name])
    first = torch.randn(B, T, 16, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: model.think(x, torch.tensor([2, 1, 3, 1, 2]), h), first, fast_mode=True)


# ---- seams: what a subclass changes reaches every call


class StepSignal(LoopedGPT):
    """A vector of its own for each loop, added to the state (after the Universal Transformer)."""

    def __init__(self, config):
        super().__init__(config)
        self.step = nn.Embedding(16, config.n_embd)

    def loop(self, h, e, t, where, cache=None):
        return super().loop(h + self.step.weight[t], e, t, where, cache)


def steps_by_hand(model, x, loops):
    """All states of a StepSignal, without its loop."""
    h, e, where = model.begin(x)
    states = [h]
    for t in range(loops):
        h = model.inject(h + model.step.weight[t], e)
        for block in model.core:
            h = block(h, where)
        states.append(h)
    return torch.stack(states)


def test_every_call_tells_a_loop_of_ones_own_which_loop_it_is():
    model, x = build(model=StepSignal, n_core=2).double(), tokens()
    states = steps_by_hand(model, x, 6)
    torch.testing.assert_close(model.trajectory(x, 6), states)
    torch.testing.assert_close(model(x, 6), model.readout(states[6]))
    torch.testing.assert_close(model.solve(x, "fixed", max_loops=6)[0], model.readout(states[6]))
    counts = torch.tensor([3, 1, 6, 2, 3])
    torch.testing.assert_close(model.think(x, counts), states[counts, torch.arange(B)])
    cache = Cache()
    one_by_one = [model.decode(x[:, i : i + 1], cache, 6) for i in range(T)]
    torch.testing.assert_close(torch.cat(one_by_one, dim=1), model.readout(states[6]))


def margin(model, before, h, answers, last):
    """How close the two likeliest tokens are: 1 - (p1 - p2), the largest of the answers."""
    best = model.readout(h).softmax(-1).topk(2).values
    return (1 - best[..., 0] + best[..., 1]).masked_fill(~answers, -math.inf).amax(1)


class WithMargin(LoopedGPT):
    exit_rules = {"margin": (margin, 0.5)}


@torch.no_grad()
def test_an_exit_rule_of_ones_own_stops_each_sequence_where_it_says():
    model, x = build(model=WithMargin), tokens(rows=12)
    left = []  # (8, 12)
    for h in model.trajectory(x, 8)[1:]:
        p = model.readout(h).softmax(-1).sort(descending=True).values
        left.append([max((1 - p[i, j, 0] + p[i, j, 1]).item() for j in range(T)) for i in range(12)])
    threshold = torch.tensor(left).quantile(0.3).item()
    expected = [next((t + 1 for t in range(8) if left[t][i] < threshold), 8) for i in range(12)]
    logits, used = model.solve(x, "margin", threshold, max_loops=8)
    assert used.tolist() == expected and len(set(expected)) > 1
    torch.testing.assert_close(logits, model(x, used))
    usual = model.solve(x, "margin", max_loops=8)  # with the threshold that stands beside the rule
    assert torch.equal(usual[1], model.solve(x, "margin", 0.5, max_loops=8)[1])
    with pytest.raises(ValueError, match="fixed, settle, kl, entropy$"):
        build().solve(x, "margin")  # the rule is the subclass's alone


class Half(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))

    def forward(self, h, e):
        return 0.5 * h + self.weight * e


class WithHalf(LoopedGPT):
    def __init__(self, config):
        super().__init__(config)
        self.inject = Half(config.n_embd)


def test_an_injection_of_ones_own_enters_every_loop():
    model, x = build(model=WithHalf), tokens()
    h, e, where = model.begin(x)
    for _ in range(3):
        h = model.core[0](0.5 * h + model.inject.weight * e, where)
    torch.testing.assert_close(model(x, 3), model.head(h))
    assert gradients(model, model(x, 3).square().mean())["inject.weight"].abs().min() > 0


# ---- the loss


def asked(x, seed=3):
    """Targets for tokens: some positions of most rows, none of the last row."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(VOCAB, x.shape, generator=generator)
    targets[torch.rand(x.shape, generator=generator) < 0.5] = IGNORE
    targets[-1] = IGNORE
    return targets


def cross_entropy_by_hand(logits, targets):
    """The mean of -log p(target) over the places that have one, place by place."""
    terms = []
    for b, i in itertools.product(range(len(targets)), range(targets.shape[1])):
        if targets[b, i] != IGNORE:
            scores = logits[b, i] - logits[b, i].max()
            terms.append(scores.exp().sum().log() - scores[targets[b, i]])
    return sum(terms) / len(terms)


def check_prediction(prediction, logits, targets):
    best = [[max(range(VOCAB), key=lambda token: place[token]) for place in row] for row in logits.tolist()]
    assert torch.equal(prediction, torch.tensor(best).masked_fill(targets == IGNORE, IGNORE))


@pytest.mark.parametrize("loops", (None, 3, [3, 1, 6, 2, 3]), ids=str)
def test_the_loss_is_the_cross_entropy_of_the_last_loop(loops):
    model, x = build(n_coda=1).double(), tokens()
    targets = asked(x)
    each = [4] * B if loops is None else [3] * B if loops == 3 else loops
    logits = torch.cat([model(x[i : i + 1], n) for i, n in enumerate(each)])
    loss, prediction = model.loss(x, targets, torch.tensor(loops) if isinstance(loops, list) else loops)
    by_hand = cross_entropy_by_hand(logits, targets)
    torch.testing.assert_close(loss.double(), by_hand, rtol=1e-6, atol=0)
    check_prediction(prediction, logits, targets)
    one, other = gradients(model, loss), gradients(model, by_hand)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loops", (4, [4] * B), ids=str)
def test_the_loss_at_every_loop_is_the_mean_over_the_loops(loops):
    model, x = build(loss="every", n_coda=1, reembed=True).double(), tokens()
    targets = asked(x)
    loss, prediction = model.loss(x, targets, torch.tensor(loops))
    by_hand = sum(cross_entropy_by_hand(model(x, n), targets) for n in (1, 2, 3, 4)) / 4
    torch.testing.assert_close(loss.double(), by_hand, rtol=1e-6, atol=0)
    check_prediction(prediction, model(x, 4), targets)
    one, other = gradients(model, loss), gradients(model, by_hand)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-8)
    with pytest.raises(ValueError, match="one for all"):
        model.loss(x, targets, torch.tensor([1, 2, 3, 4, 4]))


def test_a_truncated_loss_has_the_gradient_of_its_last_loops():
    model, x, k = build(backprop_loops=2, n_prelude=1).double(), tokens(), 2
    targets, counts = asked(x), [5, 1, 2, 3, 6]
    truncated = gradients(model, model.loss(x, targets, torch.tensor(counts))[0])
    logits = []
    for i, n in enumerate(counts):
        _, e, where = model.begin(x[i : i + 1])
        first = max(0, n - k)
        h = model.trajectory(x[i : i + 1], first)[-1].detach() if first else model.begin(x[i : i + 1])[0]
        for t in range(first, n):
            h = model.loop(h, e, t, where)
        logits.append(model.readout(h))
    by_hand = gradients(model, cross_entropy_by_hand(torch.cat(logits), targets))
    for name in by_hand:
        torch.testing.assert_close(truncated[name], by_hand[name], rtol=1e-5, atol=1e-8)


# ---- calls from Python: one clear ValueError each

CALLS = {
    "forward": lambda model, x, loops: model(x, loops),
    "think": lambda model, x, loops: model.think(x, loops),
    "states": lambda model, x, loops: list(model.states(x, loops)),
    "trajectory": lambda model, x, loops: model.trajectory(x, loops),
    "loss": lambda model, x, loops: model.loss(x, torch.zeros_like(torch.as_tensor(x)), loops),
    "solve": lambda model, x, loops: model.solve(x, max_loops=loops),
    "decode": lambda model, x, loops: model.decode(x, Cache(), loops),
    "generate": lambda model, x, loops: model.generate(x, 1, loops),
}
BAD_LOOPS = {
    "2.5": 2.5,
    "2.0": 2.0,
    "nan": math.nan,
    "True": True,
    "zero": 0,
    "negative": -3,
    "a word": "many",
    "a digit": "3",
    "a float for each": torch.full((B,), 2.0),
    "a bool for each": torch.ones(B, dtype=torch.bool),
    "too few": torch.tensor([2] * (B - 2) + [3]),
    "too many": [2] * B + [3],
    "a column": torch.tensor([[2]] * (B - 1) + [[3]]),
    "none": torch.tensor([], dtype=torch.long),
    "an empty list": [],
    "a zero among them": torch.tensor([1] * (B - 1) + [0]),
    "beyond int64": 10**30,
    "words for each": ["2"] * B,
    "a dict": {"loops": 2},
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("loops", BAD_LOOPS)
def test_loops_that_are_no_count_get_one_clear_line(call, loops):
    with pytest.raises(ValueError, match="loop") as error:
        CALLS[call](build(), tokens(), BAD_LOOPS[loops])
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_loops_may_be_any_kind_of_whole_number():
    model, x = build(), tokens()
    for three in (3, torch.tensor(3), torch.tensor([3] * B), [3] * B, (3,) * B, torch.tensor(3, dtype=torch.int32)):
        assert torch.equal(model(x, three), model(x, 3))
    assert torch.equal(model(x, [3, 1, 2, 2, 1]), model(x, torch.tensor([3, 1, 2, 2, 1], dtype=torch.uint8)))
    assert torch.equal(model(x), model(x, 4))  # config.loops
    for one_for_all in (torch.tensor(3), torch.tensor([3] * B)):
        assert torch.equal(model.trajectory(x, one_for_all), model.trajectory(x, 3))


BAD_TOKENS = {
    "float": (tokens().float(), "int64"),
    "int32": (tokens().int(), "int64"),
    "bool": (tokens() > 3, "int64"),
    "1-D": (tokens()[0], r"\(B, T\)"),
    "3-D": (tokens()[None], r"\(B, T\)"),
    "a number": (torch.tensor(3), r"\(B, T\)"),
    "beyond the vocabulary": (
        tokens().clamp(min=2).masked_fill(tokens() == 4, VOCAB),
        rf"0\.\.{VOCAB - 1}, not 2\.\.{VOCAB}",
    ),
    "negative": (tokens().masked_fill(tokens() == 4, -1), rf"0\.\.{VOCAB - 1}, not -1"),
    "a list": (tokens().tolist(), "int64"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", BAD_TOKENS)
def test_tokens_that_are_none_get_one_clear_line(call, bad):
    x, words = BAD_TOKENS[bad]
    with pytest.raises(ValueError, match=f"tokens must be .*{words}") as error:
        CALLS[call](build(), x, 2)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize(
    "changes", (dict(), dict(loss="every"), dict(backprop_loops=1, n_coda=1), dict(tied=False)), ids=str
)
def test_an_empty_batch_works_and_has_no_loss(changes):
    model, x = build(n_prelude=1, reembed=True, **changes), tokens(rows=0)
    for loops in (None, 3, torch.tensor([], dtype=torch.long)):
        if loops is None or isinstance(loops, int) or model.config.loss == "final":
            assert model(x, loops).shape == (0, T, VOCAB)
            assert model.think(x, loops).shape == (0, T, 16)
            loss, prediction = model.loss(x, x, loops)
            assert loss == 0 and prediction.shape == (0, T)
    assert model.trajectory(x, 3).shape == (4, 0, T, 16)
    for rule in EXIT_RULES:
        logits, used = model.solve(x, rule)
        assert logits.shape == (0, T, VOCAB) and used.shape == (0,)
