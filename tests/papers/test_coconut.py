"""Latent thoughts against a text that grows, token by token; reachability against a search in Python."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from attention import Cache
from tasks import IGNORE

module = paper("coconut")


def small(**changes):
    changes = dict(loops=1, position="relative", n_core=2) | changes
    return build(model=module.Coconut, config=module.CoconutConfig, **changes)


@pytest.mark.parametrize("position", ["relative", "rope", "none"])
def test_a_thought_is_a_token_whose_embedding_is_the_last_state(position):
    model = small(position=position)
    _, e, _ = model.begin(tokens())
    x = e + e
    for _ in range(model.config.thoughts + 1):
        h = model.run_layers(model.core, x, model.positions(x))  # all of it again, no cache
        x = torch.cat((x, h[:, -1:]), dim=1)
    logits = model(tokens())
    assert torch.allclose(logits[:, -1], model.head(h)[:, -1], atol=1e-5)
    assert torch.allclose(logits[:, :-1], model.head(h)[:, :6], atol=1e-5)


def test_thoughts_are_not_seen_by_later_tokens_of_a_cache():
    model, cache = small(), Cache()
    model.decode(tokens()[:, :5], cache)
    logits = model.decode(tokens()[:, 5:], cache)
    assert torch.allclose(logits[:, -1], model(tokens())[:, -1], atol=1e-5) and cache.length == 7


@pytest.mark.parametrize("feedback", [True, False])
def test_all_of_it_learns(feedback):
    model = small(feedback=feedback)
    targets = torch.full_like(tokens(), IGNORE)
    targets[:, -1] = 3
    found = gradients(model, model.loss(tokens(), targets)[0])
    assert all(each.abs().sum() > 0 for each in found.values()) and ("pauses" in found) == (not feedback)


def reachable(edges, root):
    found = {root}
    while more := {b for a, b in edges if a in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("written, hops", [(False, 3), (True, 3), (False, 1), (True, 2), (True, 4)])
def test_the_node_can_be_reached_and_the_other_cannot(written, hops):
    task = module.Reach(written=written, names=20)
    batch = task.batch("test", 0, 60, hops)
    edges = 4 * max(hops, 3)
    assert batch.tokens.shape[1] == edges + 4 + edges // 4 * written
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        graph = [divmod(token - 21, 20) for token in row[:edges]]
        one, other, root = row[edges + 1 : edges + 4]
        reached, answer = reachable(graph, root), targets[-1]
        assert {one in reached, other in reached} == {True, False} and answer in (one, other) and answer in reached
        way = [root, *row[edges + 4 :]]
        assert all(step in graph for step in zip(way, way[1:])) and row[edges] == 20
        assert targets[edges + 3 :] == way[1:] + [answer] and targets[: edges + 3] == [IGNORE] * (edges + 3)
        assert edges // 4 - len(reachable(graph, answer)) + 1 == hops  # the rest of the branch is behind it


def test_what_is_written_are_the_models_own_steps():
    task, model = module.Reach(written=True), build(vocab_size=18 + 1 + 18**2)
    batch = task.batch("test", 0, 5, 3)
    text = batch.tokens[:, :-3]
    for step in range(4):
        text = torch.cat((text, model(text, 1)[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(module.write(model, batch, 3), text[:, 1:])
