"""Decoding with a cache, one for each loop or one that all loops share, against the whole text."""

import copy
import json

import pytest
import torch
from helpers import TEXT_POSITIONS, build, tokens

from analyses.cache import (
    Cache,
    SharedCache,
    can_be_cached,
    decode,
    generate,
    new_cache,
    read_token_by_token,
)
from looped import Attention, LoopedGPT
from support.fast import speed_up
from train import load_model

# ---- a cache for each loop


@pytest.mark.parametrize("position", TEXT_POSITIONS)
@pytest.mark.parametrize("parts", ([7], [1] * 7, [3, 1, 2, 1], [1, 5, 1]), ids=str)
@torch.no_grad()
def test_decoding_in_parts_equals_reading_the_whole_text(position, parts):
    """With twice as many tokens as `reach` has biases, and further than the window sees."""
    sizes = dict(n_prelude=1, n_core=2, n_coda=1, reach=3)
    model, text = build(position=position, reembed=True, **sizes).double(), tokens()
    for loops in (1, 2, 5):
        cache = Cache()
        logits = [decode(model, part, cache, loops) for part in text.split(parts, dim=1)]
        torch.testing.assert_close(torch.cat(logits, dim=1), model(text, loops))
        assert cache.length == 7 and cache.loops == loops
        outside = {layer for layer, loop in cache.kept if loop is None}
        inside = {key for key in cache.kept if key[1] is not None}
        assert outside == {"prelude.0.attention", "coda.0.attention"} and len(inside) == 2 * loops


@pytest.mark.parametrize("changes", (dict(n_core=2, tied=False), dict(state_init="zeros")), ids=str)
@torch.no_grad()
def test_other_models_decode_too(changes):
    model, text = build(injection="concat", norm="sandwich", **changes).double(), tokens()
    torch.testing.assert_close(read_token_by_token(model, text, 4, "none"), model(text, 4))


@torch.no_grad()
def test_a_loop_that_knows_its_number_is_told_it():
    model, text = build(model=StepSignal, n_core=2).double(), tokens()
    torch.testing.assert_close(read_token_by_token(model, text, 6, "none"), model(text, 6))


class StepSignal(LoopedGPT):
    def __init__(self, config):
        super().__init__(config)
        self.step = torch.nn.Embedding(8, config.n_embd)

    def loop(self, h, e, t, positions):
        return super().loop(h + self.step.weight[t], e, t, positions)


@pytest.mark.parametrize("position", TEXT_POSITIONS)
@pytest.mark.parametrize("loops", (None, 1, 5))
def test_cached_generation_equals_uncached(position, loops):
    model = build(position=position, n_prelude=1, n_core=2, n_coda=1, reembed=True).double()
    text = tokens(length=3)
    assert torch.equal(generate(model, text, 9, loops), model.generate(text, 9, loops))


@torch.no_grad()
def test_the_model_is_as_before_when_the_call_is_over():
    plain, text = build(n_coda=1), tokens()
    for model in (plain, speed_up(copy.deepcopy(plain))):
        kinds = [type(module) for module in model.modules()]
        before = model(text)
        decode(model, text, Cache())
        with pytest.raises(IndexError):
            decode(model, text + 100, Cache())  # no such tokens
        assert torch.equal(model(text), before)
        assert [type(module) for module in model.modules()] == kinds
        for module in model.modules():
            assert "attend" not in vars(module) and "forward" not in vars(module)
    assert any(isinstance(module, Attention) for module in plain.modules())


class Twice(LoopedGPT):
    def loop(self, h, e, t, positions):
        return super().loop(super().loop(h, e, t, positions), e, t, positions)


def test_what_cannot_be_cached_says_why():
    model, text, cache = build(), tokens(), Cache()
    decode(model, text[:, :3], cache, 2)
    with pytest.raises(ValueError, match="took 2 loops each, not 3"):
        decode(model, text[:, 3:], cache, 3)
    with pytest.raises(ValueError, match="causal"):
        decode(build(causal=False), text, Cache())
    with pytest.raises(ValueError, match="core.0.attention runs twice in a loop"):
        decode(build(model=Twice), text, Cache())


def test_a_copied_cache_leaves_the_first_as_it_was():
    model, text = build(), tokens()
    cache = new_cache("none", 4)
    decode(model, text[:, :4], cache, 4)
    once, again = (decode(model, text[:, 4:], cache.copy(), 4) for _ in range(2))
    assert torch.equal(once, again) and cache.length == 4


class CountsPlaces(LoopedGPT):
    """Its loop tells each token its place, which it takes from the tokens of the call."""

    def loop(self, h, e, t, positions):
        place = torch.arange(h.shape[1])[:, None].to(h.dtype)
        return super().loop(h + place, e, t, positions)


def test_a_model_that_reads_otherwise_is_known():
    assert can_be_cached(build(model=StepSignal), tokens(), 3)
    assert not can_be_cached(build(model=CountsPlaces), tokens(), 3)


# ---- a cache that loops share


def test_a_cache_for_each_loop_costs_no_accuracy_and_a_shared_one_is_another_model(runs, run):
    run("cache", runs / "digits", "--examples", 40, "--loops", 3)
    numbers = json.loads((runs / "digits/cache.json").read_text())
    assert numbers["difficulty"] == [1, 3, 6] and numbers["loops"] == 3
    model, task, _ = load_model(runs / "digits")
    for i, difficulty in enumerate(numbers["difficulty"]):
        batch = task.batch("test", 0, 40, difficulty)
        right = task.check(batch, model(batch.tokens, 3).argmax(-1)).float().mean().item()
        assert numbers["none"][i] == pytest.approx(right)
    question, logits = batch.tokens[:4], {}
    for policy in ("none", "first", "last"):
        logits[policy] = read_token_by_token(model, question, 3, policy)
    torch.testing.assert_close(logits["none"], model(question, 3), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits["first"], logits["none"], atol=1e-3)
    assert not torch.allclose(logits["last"], logits["first"], atol=1e-3)


class Borrowed(Cache):
    """
    A shared cache written another way: what a loop looks at is decided before the call, for each
    loop apart.
    """

    def __init__(self, keeper):
        super().__init__()
        self.keeper = keeper

    def begin_call(self):
        in_the_loop = {key: pair for key, pair in self.kept.items() if key[1] is not None}
        self.earlier = {layer: pair for (layer, _), pair in in_the_loop.items()}

    def extend(self, layer, k, v):
        loop = self.loop
        pair = self.kept.get((layer, None)) if loop is None else self.earlier.get(layer)
        if pair:
            k, v = torch.cat((pair[0], k), dim=2), torch.cat((pair[1], v), dim=2)
        if loop is None or loop == self.keeper:
            self.kept[layer, loop] = k, v
        return k, v


@pytest.mark.parametrize("policy, keeper", (("first", 0), ("last", 3)))
def test_all_loops_look_at_what_one_loop_kept_of_earlier_tokens(policy, keeper):
    model, text = build(n_prelude=1, n_core=2, n_coda=1), tokens()
    shared, other = new_cache(policy, 4), Borrowed(keeper)
    assert isinstance(shared, SharedCache) and shared.keeper == keeper
    # several tokens in a call see each other loop by loop
    for part in (text[:, :3], text[:, 3:4], text[:, 4:]):
        other.begin_call()
        torch.testing.assert_close(decode(model, part, shared, 4), decode(model, part, other, 4))
    loops_kept = {loop for _, loop in shared.kept if loop is not None}
    assert loops_kept == {keeper} and shared.length == text.shape[1]


def test_with_one_loop_sharing_changes_nothing():
    model, text = build(), tokens()
    for policy in ("first", "last"):
        logits = read_token_by_token(model, text, 1, policy)
        torch.testing.assert_close(logits, model(text, 1), rtol=1e-4, atol=1e-5)
