"""The loop against things computed another way."""

import itertools
import math

import pytest
import torch
from helpers import BOARD, TEXT_POSITIONS, VOCAB, B, Counting, T, build, gradients, tokens
from torch import nn
from torch.nn import functional as F

from looped import IGNORE, Config, LoopedGPT, settle

# ---- the forward pass a second time: explicit softmax, one head and one position at a time


def rms(x, weight):
    return x / (x.pow(2).mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt() * weight


def norm(module, x):
    return rms(x, module.weight) if hasattr(module, "weight") else x


def turned(channels, position):
    """Each pair of channels (c, c + D/2) as a complex number, turned by the angle of a position."""
    half = len(channels) // 2
    angle = position * 10000.0 ** (-torch.arange(half) / half)
    turn = torch.polar(torch.ones(half), angle)
    return torch.complex(channels[:half], channels[half:]) * turn


def place_of_bias(config, query, key):
    """Which of the learned biases belongs to the distance of a key from its query."""
    farthest = config.reach - 1
    if config.causal:  # distances 0, 1, .., farthest
        return min(query - key, farthest) if key <= query else 0
    return max(-farthest, min(query - key, farthest)) + farthest  # -farthest, .., farthest


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
            if config.position == "rope":
                score = (turned(query, i) * turned(key, j).conj()).real.sum() / math.sqrt(D)
            else:
                score = query @ key / math.sqrt(D)
            if config.position == "alibi":
                score = score - abs(i - j) * 2 ** (-8 * (head + 1) / config.n_head)
            if config.position == "window" and abs(i - j) >= config.reach:
                score = torch.tensor(-torch.inf)
            if config.position in ("relative", "window"):
                score = score + model.positions.bias[head, place_of_bias(config, i, j)]
            if config.position == "grid":
                a, c = config.coordinates[i], config.coordinates[j]
                way = sum(2**axis for axis in range(len(a)) if a[axis] == c[axis])
                score = score + model.positions.bias[head, way]
            scores.append(score if j <= i or not config.causal else torch.tensor(-torch.inf))
        weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        out[b, i, part] = sum(weights[j] * v[b, j, part] for j in range(T))
    return out @ block.attention.out.weight.T


def reference_block(model, block, x):
    x = norm(
        block.after_attention,
        x + reference_attention(model, block, norm(block.before_attention, x)),
    )
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
            h = (
                h @ model.inject.weight[:, : config.n_embd].T
                + e @ model.inject.weight[:, config.n_embd :].T
            )
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
    [
        dict(injection=injection, norm=norm)
        for injection in ("none", "add", "concat")
        for norm in ("pre", "post", "sandwich")
    ]
    + [
        dict(position=position, causal=causal)
        for position in TEXT_POSITIONS
        for causal in (True, False)
    ]
    + [dict(position="grid", coordinates=BOARD, causal=False), dict(reembed=True)]
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
    tied, untied = (
        gradients(model, model(x).square().mean()),
        gradients(twin, twin(x).square().mean()),
    )
    for name, gradient in tied.items():
        if name.startswith("core."):
            _, layer, rest = name.split(".", 2)
            copies = range(int(layer), len(twin.core), n_core)
            torch.testing.assert_close(gradient, sum(untied[f"core.{i}.{rest}"] for i in copies))
        else:
            torch.testing.assert_close(gradient, untied[name])


def think_alone(model, x, loops, backprop_loops=0):
    """The last state of one sequence (1, T), loop by loop; only the last few have a gradient."""
    h, e, positions = model.begin(x)
    without_gradient = max(0, loops - backprop_loops) if backprop_loops else 0
    with torch.no_grad():
        for t in range(without_gradient):
            h = model.loop(h, e, t, positions)
    for t in range(without_gradient, loops):
        h = model.loop(h, e, t, positions)
    return h


COUNTS = [3, 1, 6, 2, 3]  # of loops, for each of the B sequences


@pytest.mark.parametrize("backprop_loops", (0, 1, 2, 3, 6, 7))
@pytest.mark.parametrize(
    "changes",
    (dict(n_prelude=1, n_coda=1), dict(n_core=2, reembed=True, position="rope"), dict(norm="pre")),
    ids=str,
)
def test_counts_and_truncation_equal_a_loop_by_hand_over_single_sequences(changes, backprop_loops):
    model, x = build(backprop_loops=backprop_loops, **changes).double(), tokens()
    by_hand = [think_alone(model, x[i : i + 1], n, backprop_loops) for i, n in enumerate(COUNTS)]
    by_hand = torch.cat(by_hand)
    thought = model.think(x, torch.tensor(COUNTS))
    torch.testing.assert_close(thought, by_hand)
    logits = model(x, torch.tensor(COUNTS))
    torch.testing.assert_close(logits, model.readout(by_hand))
    one = gradients(model, logits.square().sum())
    other = gradients(model, model.readout(by_hand).square().sum())
    for name in one:
        torch.testing.assert_close(one[name], other[name])


@pytest.mark.parametrize("k", (1, 2, 3))
def test_truncated_backpropagation_is_full_backpropagation_through_the_last_k_loops(k):
    model, x = build(backprop_loops=k, n_prelude=1).double(), tokens()
    truncated = gradients(model, model.readout(model.think(x, 5)).square().mean())
    _, e, positions = model.begin(x)
    h = model.trajectory(x, 5 - k)[-1].detach()
    for t in range(5 - k, 5):
        h = model.loop(h, e, t, positions)
    full = gradients(model, model.readout(h).square().mean())
    assert truncated.keys() == full.keys()
    for name in full:
        torch.testing.assert_close(truncated[name], full[name])
    everything = gradients(model, model(x, 5).square().mean())
    assert not torch.allclose(everything["embed.weight"], full["embed.weight"])


@pytest.mark.parametrize("changes", (dict(), dict(n_prelude=1, n_coda=1, tied=False)), ids=str)
def test_forward_is_think_and_readout(changes):
    model, x = build(**changes), tokens()
    for loops in (1, 3, 4):
        at_once = model(x, loops)
        torch.testing.assert_close(at_once, model.readout(model.think(x, loops)))
        torch.testing.assert_close(at_once, model(x, torch.tensor([loops] * B)))
    torch.testing.assert_close(model(x), model(x, 4))  # config.loops
    torch.testing.assert_close(model.readout(model.think(x)), model(x, 4))


def test_trajectory_ends_where_think_ends_and_begins_before_the_first_loop():
    model, x = build(n_prelude=1), tokens()
    states = model.trajectory(x, 4)
    assert states.shape == (5, B, T, 16)
    torch.testing.assert_close(states[0], model.begin(x)[0])
    for loops in (1, 4):
        torch.testing.assert_close(model.readout(states[loops]), model(x, loops))


def test_a_sequence_that_is_done_keeps_its_state():
    model, x = build(n_prelude=1, reembed=True), tokens()
    alone = model.trajectory(x, max(COUNTS))
    together = model.trajectory(x, torch.tensor(COUNTS))
    assert together.shape == alone.shape
    for i, n in enumerate(COUNTS):
        torch.testing.assert_close(together[: n + 1, i], alone[: n + 1, i])
        assert (together[n:, i] == together[n, i]).all()


@pytest.mark.parametrize("injection", ("none", "add", "concat"))
@pytest.mark.parametrize("norm", ("pre", "post", "sandwich"))
def test_looping_matters_at_initialisation(injection, norm):
    torch.manual_seed(0)
    model = LoopedGPT(Config(VOCAB, injection=injection, norm=norm))
    x = tokens()
    one, two = model(x, 1), model(x, 2)
    assert (one - two).abs().max() > 0.01 * one.std()
    for name, gradient in gradients(model, F.cross_entropy(two.flatten(0, 1), x.flatten())).items():
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("position", TEXT_POSITIONS)
def test_a_causal_model_never_looks_ahead(position):
    model, x = build(position=position, n_prelude=1, n_coda=1, reembed=True), tokens()
    for cut in range(1, T):
        other = x.clone()
        other[:, cut:] = (other[:, cut:] + 1) % VOCAB
        before, after = model(x, 3), model(other, 3)
        torch.testing.assert_close(before[:, :cut], after[:, :cut])
        assert (before[:, cut] - after[:, cut]).abs().max() > 1e-4


@pytest.mark.parametrize("position", TEXT_POSITIONS)
def test_padding_behind_changes_neither_loss_nor_gradient(position):
    """As the docstring of `loss` says of sequences of unequal length."""
    model, (x, y) = build(position=position, n_prelude=1, n_coda=1), tokens()[:2]
    both, targets, short = torch.stack((x, y)), torch.stack((y, x)), T - 2
    both[1, short:], targets[1, short:] = 0, IGNORE
    loss, _ = model.loss(both, targets, torch.tensor([3, 5]))
    first, _ = model.loss(x[None], y[None], 3)
    second, _ = model.loss(y[None, :short], x[None, :short], 5)
    apart = (first * T + second * short) / (T + short)
    torch.testing.assert_close(loss, apart)
    expected = gradients(model, apart)
    for name, gradient in gradients(model, loss).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_without_causality_every_position_sees_every_other():
    model, x = build(causal=False, position="none"), tokens()
    other = x.clone()
    other[:, -1] = (other[:, -1] + 1) % VOCAB
    assert ((model(x, 2) - model(other, 2)).abs().amax(-1) > 1e-5).all()


@pytest.mark.parametrize("position", TEXT_POSITIONS)
def test_which_positions_know_left_from_right_in_a_model_that_is_not_causal(position):
    model, x = build(causal=False, position=position, n_prelude=1), tokens()
    there_and_back = model(x.flip(1), 3).flip(1)
    alike = torch.allclose(model(x, 3), there_and_back, atol=1e-5)
    assert alike == (position in ("none", "alibi"))


@pytest.mark.parametrize("position", ("relative", "window"))
def test_only_a_model_that_is_not_causal_has_biases_for_tokens_ahead(position):
    for reach in (1, 2, 4):
        causal = build(position=position, reach=reach)
        assert causal.positions.bias.shape == (2, reach)
        assert build(position=position, reach=reach, causal=False).positions.bias.shape == (
            2,
            2 * reach - 1,
        )
        bias = causal.positions(torch.zeros(1, T, 16)).bias
        for query, key in itertools.product(range(T), range(T)):
            distance = query - key
            hidden = distance < 0 or (position == "window" and distance >= reach)
            expected = causal.positions.bias[:, min(max(distance, 0), reach - 1)]
            assert torch.equal(
                bias[:, query, key], torch.full((2,), -math.inf) if hidden else expected
            )


@pytest.mark.parametrize("causal", (True, False))
def test_a_window_sees_as_far_as_its_loops_reach(causal):
    """Three loops with reach=2 see three places back, and no further."""
    model, x = build(position="window", reach=2, causal=causal), tokens()
    other = x.clone()
    other[:, 3] = (other[:, 3] + 1) % VOCAB
    for loops in (1, 2, 3):
        moved = (model(x, loops) - model(other, loops)).abs().amax((0, 2)) > 1e-6
        first, last = (3 if causal else max(0, 3 - loops)), min(T - 1, 3 + loops)
        assert moved.tolist() == [first <= place <= last for place in range(T)]


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
    for rule, threshold in (("fixed", None), ("fixed", -1.0), ("settle", -1.0), (settle, -1.0)):
        logits, used = model.solve(x, rule=rule, threshold=threshold, max_loops=6)
        torch.testing.assert_close(logits, model(x, 6))
        assert used.tolist() == [6] * B


def test_solve_without_settings_works_for_tied_and_untied():
    assert build().solve(tokens())[1].max() <= 64
    untied = build(tied=False, loops=3)
    assert untied.solve(tokens(), rule="settle", threshold=-1)[1].tolist() == [3] * B


def solve_alone(model, x, rule, threshold, max_loops, answer_mask=None):
    """Logits of one sequence (1, T) and the loops it took, in a loop of plain Python."""
    if answer_mask is None:
        answer_mask = torch.ones_like(x, dtype=torch.bool)
    h, e, positions = model.begin(x)
    measured = torch.tensor([math.inf])
    for t in range(max_loops):
        before, h = h, model.loop(h, e, t, positions)
        measured = rule(model, before, h, answer_mask, measured)
        if measured.item() < threshold:
            break
    return model.readout(h), t + 1


def undecided(model, before, h, answer_mask, last):
    """How close the two likeliest tokens are: 1 - (p1 - p2), the largest of the answers."""
    best = model.readout(h).softmax(-1).topk(2).values
    return (1 - best[..., 0] + best[..., 1]).masked_fill(~answer_mask, -math.inf).amax(1)


def slowly(model, before, h, answer_mask, last):
    """A rule that remembers: the smallest movement so far."""
    return torch.minimum(last, settle(model, before, h, answer_mask, last))


@pytest.mark.parametrize("rule", (settle, undecided, slowly), ids=lambda rule: rule.__name__)
@torch.no_grad()
def test_solve_equals_a_loop_over_single_sequences(rule):
    model, x = build(n_prelude=1, n_coda=1), tokens(rows=12)
    answers = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    answers[:, -1] = True
    states, measured = model.trajectory(x, 8), [torch.full((12,), math.inf)]
    for before, h in zip(states, states[1:]):
        measured.append(rule(model, before, h, answers, measured[-1]))
    threshold = torch.stack(measured[1:]).quantile(0.4).item()
    logits, used = model.solve(x, rule, threshold, max_loops=8, answer_mask=answers)
    for i in range(12):
        alone, loops = solve_alone(model, x[i : i + 1], rule, threshold, 8, answers[i : i + 1])
        torch.testing.assert_close(logits[i : i + 1], alone)
        assert used[i] == loops
    assert len(used.unique()) > 2
    torch.testing.assert_close(logits, model(x, used))


@torch.no_grad()
def test_settle_measures_how_far_a_loop_moved_the_state():
    model, x = build(), tokens(rows=3)
    before, h = model.trajectory(x, 4)[3:]
    mask = torch.zeros_like(x, dtype=torch.bool)  # where answers are asked makes no difference
    measured = settle(model, before, h, mask, None)
    by_hand = []
    for old, new in zip(before.tolist(), h.tolist()):
        old, new = sum(old, []), sum(new, [])
        moved = math.sqrt(sum((a - b) ** 2 for a, b in zip(new, old)))
        by_hand.append(moved / math.sqrt(sum(a**2 for a in new)))
    torch.testing.assert_close(measured, torch.tensor(by_hand))
    logits, used = model.solve(x)  # the usual threshold
    assert torch.equal(used, model.solve(x, "settle", 0.05)[1])


def test_what_a_subclass_carries_along_does_not_keep_the_state_from_settling():
    plain, counting, x = build(), build(model=Counting), tokens(rows=12)
    states = plain.trajectory(x, 8)
    moved = [settle(plain, before, h, None, None) for before, h in zip(states, states[1:])]
    threshold = torch.stack(moved).quantile(0.4).item()
    logits, used = plain.solve(x, threshold=threshold, max_loops=8)
    assert len(used.unique()) > 2
    torch.testing.assert_close(counting.solve(x, threshold=threshold, max_loops=8), (logits, used))
    assert counting.trajectory(x, 3)[-1, :, :, -1].eq(3000).all()


# ---- text


@pytest.mark.parametrize("position", TEXT_POSITIONS)
@torch.no_grad()
def test_each_new_token_is_drawn_from_the_text_so_far(position):
    model, x = build(position=position, n_prelude=1, n_coda=1, reembed=True), tokens(length=3)
    for loops in (None, 1, 5):
        by_hand = x
        torch.manual_seed(0)
        for _ in range(9):
            p = (model(by_hand, loops)[:, -1] / 3).softmax(-1)
            by_hand = torch.cat((by_hand, torch.multinomial(p, 1)), dim=1)
        torch.manual_seed(0)
        assert torch.equal(by_hand, model.generate(x, 9, loops=loops, temperature=3.0))
        greedy = model.generate(x, 9, loops=loops)
        assert torch.equal(greedy[:, :3], x) and greedy.shape == (B, 12)
        for length in range(3, 12):
            likeliest = model(greedy[:, :length], loops)[:, -1].argmax(-1)
            assert torch.equal(greedy[:, length], likeliest)


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
        (dict(loops=0), "loops must be at least 1"),
        (dict(vocab_size=0), "vocab_size must be at least 1"),
        (dict(n_prelude=-1), "n_prelude"),
        (dict(norm="layer"), "pre, post, sandwich"),
        (dict(position="grid"), "coordinates"),
        (dict(position="grid", coordinates=()), "coordinates"),
        (dict(coordinates=BOARD), "coordinates"),
        (dict(injection="none", state_init="zeros"), "never sees"),
        (dict(injection="none", backprop_loops=2), "gradient"),
        (dict(tied=False, backprop_loops=2), "early loops"),
        (dict(loss="every", backprop_loops=2), "backprop_loops"),
        (dict(loss="last"), "final, every"),
    ],
)
def test_configs_that_cannot_work_say_why(changes, words):
    with pytest.raises(ValueError, match=words) as error:
        build(**changes)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_calls_that_cannot_work_say_why():
    untied, x = build(tied=False, loops=3), tokens()
    calls = (
        lambda: untied(x, 4),
        lambda: untied(x, torch.tensor([1, 2, 3, 4, 1])),
        lambda: untied.trajectory(x, 4),
    )
    for call in calls:
        with pytest.raises(ValueError, match="untied model has layers for 3 loops, no more"):
            call()
    with pytest.raises(ValueError, match="6 cells, not 7"):
        build(position="grid", coordinates=BOARD, causal=False)(tokens(length=7))
    with pytest.raises(ValueError, match="rule='never' is not one of settle, fixed"):
        build().solve(x, rule="never")
    for threshold in (None, "0.1", math.nan):
        with pytest.raises(ValueError, match="threshold=.* is no number; only a named rule has"):
            build().solve(x, rule=settle, threshold=threshold)


@pytest.mark.parametrize(
    "n, more",
    ((1, dict(temperature=-1.0)), (1, dict(temperature=math.nan)), (-1, {}), (2.0, {})),
)
def test_a_text_that_cannot_be_generated_is_refused_in_one_line(n, more):
    with pytest.raises(ValueError, match="^generate wants .*, not 7 tokens, n=.*temperature=.*$"):
        build().generate(tokens(), n, **more)
    with pytest.raises(ValueError, match="not 0 tokens, n=1"):
        build().generate(tokens(length=0), 1)
    assert torch.equal(build().generate(tokens(), 0), tokens())


def test_a_mask_of_numbers_means_what_one_of_booleans_does():
    def moved_where_asked(model, before, h, answer_mask, last):
        assert answer_mask.dtype == torch.bool
        return (h - before).norm(dim=2).masked_fill(~answer_mask, 0).amax(1)

    model, x = build(), tokens()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    expected = model.solve(x, moved_where_asked, 0.3, 8, mask)
    for other in (mask.long(), mask.float()):
        torch.testing.assert_close(model.solve(x, moved_where_asked, 0.3, 8, other), expected)


# ---- precision


@pytest.mark.parametrize("changes", (dict(injection="concat"), dict(position="rope"), dict()))
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
    h, e, positions = model.begin(x)
    by_hand = [h]
    for t in range(5):
        by_hand.append(model.loop(by_hand[-1], e, t, positions))
    by_hand = torch.stack(by_hand)
    torch.testing.assert_close(model.trajectory(x, 5, h=h), by_hand)
    torch.testing.assert_close(model.trajectory(x, 2, h=by_hand[3]), by_hand[3:])
    torch.testing.assert_close(torch.stack(list(model.states(x, 2, h=by_hand[3]))), by_hand[3:])
    torch.testing.assert_close(model.think(x, 2, h=by_hand[3]), by_hand[5])
    torch.testing.assert_close(model.think(x, 2, model.think(x, 3, h)), by_hand[5])
    counts = torch.tensor([3, 1, 5, 2, 3])
    torch.testing.assert_close(model.think(x, counts, h=h), by_hand[counts, torch.arange(B)])


def test_the_gradient_reaches_back_through_a_first_state():
    model, x = build(n_prelude=1, reembed=True).double(), tokens()
    at_once = gradients(model, model(x, 5).square().mean())
    for continue_from in (lambda h: model.think(x, 2, h), lambda h: model.trajectory(x, 2, h)[-1]):
        in_two = gradients(model, model.readout(continue_from(model.think(x, 3))).square().mean())
        for name in at_once:
            torch.testing.assert_close(in_two[name], at_once[name])
    first = torch.randn(B, T, 16, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda h: model.think(x, torch.tensor([2, 1, 3, 1, 2]), h), first, fast_mode=True
    )


# ---- seams: what a subclass changes reaches every call


class StepSignal(LoopedGPT):
    """A vector of its own for each loop, added to the state (after the Universal Transformer)."""

    def __init__(self, config):
        super().__init__(config)
        self.step = nn.Embedding(16, config.n_embd)

    def loop(self, h, e, t, positions):
        return super().loop(h + self.step.weight[t], e, t, positions)


def steps_by_hand(model, x, loops):
    """All states of a StepSignal, without its loop."""
    h, e, positions = model.begin(x)
    states = [h]
    for t in range(loops):
        h = model.inject(h + model.step.weight[t], e)
        for block in model.core:
            h = block(h, positions)
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
    torch.testing.assert_close(
        model.generate(x, 1, 6)[:, -1], model.readout(states[6])[:, -1].argmax(-1)
    )


class ThereAndBack(LoopedGPT):
    """Every second loop takes the layers of the core from the last to the first."""

    def core_of(self, t):
        return self.core if t % 2 == 0 else self.core[::-1]


def test_every_call_takes_the_layers_that_a_subclass_chooses_for_a_loop():
    model, x = build(model=ThereAndBack, n_core=2), tokens()
    h, e, positions = model.begin(x)
    states = [h]
    for t in range(6):
        first, second = (0, 1) if t % 2 == 0 else (1, 0)
        h = model.core[second](model.core[first](h + e, positions), positions)
        states.append(h)
    states = torch.stack(states)
    torch.testing.assert_close(model.trajectory(x, 6), states)
    torch.testing.assert_close(model(x, 6), model.readout(states[6]))
    torch.testing.assert_close(model.solve(x, "fixed", max_loops=5)[0], model.readout(states[5]))
    torch.testing.assert_close(model.think(x, torch.tensor(COUNTS)), states[COUNTS, range(B)])


class WithRule(LoopedGPT):
    exit_rules = LoopedGPT.exit_rules | {"undecided": (undecided, 0.5)}


def test_a_subclass_has_exit_rules_of_its_own_beside_ours():
    model, x = build(model=WithRule), tokens(rows=12)
    # with the threshold that stands beside the rule
    usual = model.solve(x, "undecided", max_loops=8)
    torch.testing.assert_close(usual, model.solve(x, undecided, 0.5, max_loops=8))
    torch.testing.assert_close(model.solve(x, "settle"), build().solve(x, "settle"))
    with pytest.raises(ValueError, match="not one of settle, fixed$"):
        build().solve(x, "undecided")  # the rule is the subclass's alone


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
    h, e, positions = model.begin(x)
    for _ in range(3):
        h = model.core[0](0.5 * h + model.inject.weight * e, positions)
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


def check_prediction(prediction, logits):
    """At every position, whether an answer is asked there or not."""
    best = [[place.index(max(place)) for place in row] for row in logits.tolist()]
    assert prediction.tolist() == best


@pytest.mark.parametrize("loops", (None, 3, [3, 1, 6, 2, 3]), ids=str)
def test_the_loss_is_the_cross_entropy_of_the_last_loop(loops):
    model, x = build(n_coda=1).double(), tokens()
    targets = asked(x)
    each = [4] * B if loops is None else [3] * B if loops == 3 else loops
    logits = torch.cat([model(x[i : i + 1], n) for i, n in enumerate(each)])
    loss, prediction = model.loss(
        x, targets, torch.tensor(loops) if isinstance(loops, list) else loops
    )
    by_hand = cross_entropy_by_hand(logits, targets)
    torch.testing.assert_close(loss.double(), by_hand, rtol=1e-6, atol=0)
    check_prediction(prediction, logits)
    one, other = gradients(model, loss), gradients(model, by_hand)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loops", ([4] * B, [1, 4, 2, 3, 4]), ids=str)
def test_the_loss_at_every_loop_is_the_mean_over_the_loops(loops):
    """A sequence that is done counts with its last state."""
    model, x = build(loss="every", n_coda=1, reembed=True).double(), tokens()
    targets = asked(x)
    loss, prediction = model.loss(x, targets, torch.tensor(loops))

    def logits_after(t):
        return torch.cat([model(x[i : i + 1], min(t, n)) for i, n in enumerate(loops)])

    by_hand = sum(cross_entropy_by_hand(logits_after(t), targets) for t in (1, 2, 3, 4)) / 4
    torch.testing.assert_close(loss.double(), by_hand, rtol=1e-6, atol=0)
    check_prediction(prediction, logits_after(4))
    one, other = gradients(model, loss), gradients(model, by_hand)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-8)


def test_a_truncated_loss_has_the_gradient_of_its_last_loops():
    model, x = build(backprop_loops=2, n_prelude=1).double(), tokens()
    targets, counts = asked(x), [5, 1, 2, 3, 6]
    truncated = gradients(model, model.loss(x, targets, torch.tensor(counts))[0])
    states = [think_alone(model, x[i : i + 1], n, 2) for i, n in enumerate(counts)]
    loss = cross_entropy_by_hand(model.readout(torch.cat(states)), targets)
    by_hand = gradients(model, loss)
    for name in by_hand:
        torch.testing.assert_close(truncated[name], by_hand[name], rtol=1e-5, atol=1e-8)


def test_token_losses_are_those_of_a_readout_where_an_answer_is_asked():
    model, x = build(n_coda=1).double(), tokens()
    targets, h = asked(x), model.think(x, 3)
    losses, prediction = model.token_losses(h, targets)
    logits = model.readout(h)
    check_prediction(prediction, logits)
    asked_for = [
        (b, i) for b, i in itertools.product(range(B), range(T)) if targets[b, i] != IGNORE
    ]
    by_hand = [-logits[place].log_softmax(0)[targets[place]] for place in asked_for]
    torch.testing.assert_close(losses.double(), torch.stack(by_hand), rtol=1e-5, atol=1e-6)


def test_an_empty_batch_goes_through_every_call():
    model, x = build(n_prelude=1, n_coda=1, reembed=True), tokens(rows=0)
    for loops in (None, 3):
        assert model(x, loops).shape == (0, T, VOCAB)
        assert model.think(x, loops).shape == (0, T, 16)
    assert model.trajectory(x, 3).shape == (4, 0, T, 16)
    for rule in model.exit_rules:
        logits, used = model.solve(x, rule)
        assert logits.shape == (0, T, VOCAB) and used.shape == (0,)


def test_a_state_that_is_no_number_is_not_taken_for_one_at_rest():
    model = build()
    with torch.no_grad():
        model.core[0].mlp[0].weight.fill_(math.nan)
    _, loops_used = model.solve(tokens(), max_loops=5)
    assert (loops_used == 5).all()
