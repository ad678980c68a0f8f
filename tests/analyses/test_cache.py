"""Caches: one for each loop, and one that all loops share."""

import json

import pytest
import torch
from helpers import build, tokens

from analyses.cache import SharedCache, copy_of, new_cache, read_token_by_token
from attention import Cache
from train import load_model


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
    """A shared cache written another way: what a loop looks at is decided before the call, for each loop apart."""

    def __init__(self, keeper):
        super().__init__()
        self.keeper = keeper

    def begin_call(self):
        self.earlier = {layer: pair for (part, _, layer), pair in self.kept.items() if part == "core"}

    def extend(self, key, k, v):
        part, loop, layer = key
        pair = self.earlier.get(layer) if part == "core" else self.kept.get(key)
        if pair:
            k, v = torch.cat((pair[0], k), dim=2), torch.cat((pair[1], v), dim=2)
        if part != "core" or loop == self.keeper:
            self.kept[key] = k, v
        return k, v


@pytest.mark.parametrize("policy, keeper", (("first", 0), ("last", 3)))
def test_all_loops_look_at_what_one_loop_kept_of_earlier_tokens(policy, keeper):
    model, text = build(n_prelude=1, n_core=2, n_coda=1), tokens()
    shared, other = new_cache(policy, 4), Borrowed(keeper)
    assert isinstance(shared, SharedCache) and shared.keeper == keeper
    for part in (text[:, :3], text[:, 3:4], text[:, 4:]):  # several tokens in a call see each other loop by loop
        other.begin_call()
        torch.testing.assert_close(model.decode(part, shared, 4), model.decode(part, other, 4))
    loops_kept = {loop for part, loop, _ in shared.kept if part == "core"}
    assert loops_kept == {keeper} and shared.length == text.shape[1]


def test_with_one_loop_sharing_changes_nothing():
    model, text = build(), tokens()
    for policy in ("first", "last"):
        torch.testing.assert_close(read_token_by_token(model, text, 1, policy), model(text, 1), rtol=1e-4, atol=1e-5)


def test_a_copied_cache_leaves_the_first_as_it_was():
    model, text = build(), tokens()
    cache = new_cache("none", 4)
    model.decode(text[:, :4], cache, 4)
    once, again = (model.decode(text[:, 4:], copy_of(cache), 4) for _ in range(2))
    assert torch.equal(once, again) and cache.length == 4
