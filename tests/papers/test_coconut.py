"""Latent thoughts against a text that grows, token by token; reachability against a search in Python."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from looped import LoopedGPT
from tasks import IGNORE

module, reach = paper("coconut"), paper("reach")


def small(**changes):
    changes = dict(loops=1, position="relative", n_core=2) | changes
    return build(model=module.Coconut, config=module.CoconutConfig, **changes)


@pytest.mark.parametrize("position, now", [("relative", 3), ("rope", 3), ("none", 1), ("relative", 2)])
def test_a_thought_is_a_token_whose_embedding_is_the_last_state(position, now):
    model = small(position=position)
    model.now = now
    _, e, _ = LoopedGPT.begin(model, tokens())
    x = e + e
    for place in range(4, 4 + now):  # of 7 tokens, the last three are places for thoughts
        h = model.run_layers(model.core, x, model.positions(x))  # all of it again, no cache
        x = torch.cat((x[:, :place], h[:, place - 1 : place], x[:, place + 1 :]), dim=1)
    h = model.run_layers(model.core, x, model.positions(x))
    assert torch.allclose(model(tokens()), model.head(h), atol=1e-5)


@pytest.mark.parametrize("feedback", [True, False])
def test_what_stands_in_their_places_is_not_read(feedback):
    changed = tokens().clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 11
    model = small(feedback=feedback, loops=2)
    assert torch.equal(model(changed), model(tokens()))
    model.now = 2
    assert torch.equal(model(changed)[:, :6], model(tokens())[:, :6]) and not torch.equal(
        model(changed), model(tokens())
    )


@pytest.mark.parametrize("feedback", [True, False])
def test_the_loss_asks_for_what_is_still_written(feedback, monkeypatch):
    model, seen = small(feedback=feedback), set()
    inner = LoopedGPT.loss
    monkeypatch.setattr(
        LoopedGPT,
        "loss",
        lambda self, t, targets, n: seen.add((self.now, *targets[0].tolist())) or inner(self, t, targets, n),
    )
    targets = torch.tensor([[IGNORE] * 3 + [5, 6, 7, 8]]).expand(5, -1)
    for seed in range(30):
        torch.manual_seed(seed)
        loss, _ = model.loss(tokens(), targets)
    whole = [IGNORE] * 3 + [5, 6, 7, 8]
    assert seen == {(now, *([IGNORE] * (3 + now) + whole[3 + now :])) for now in range(4)} and model.now == 3
    found = gradients(model, torch.stack([model.loss(tokens(), targets)[0] for _ in range(9)]).sum())
    assert all(each.abs().sum() > 0 for each in found.values()) and ("pauses" in found) == (not feedback)


def reachable(edges, root):
    found = {root}
    while more := {b for a, b in edges if a in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_the_node_can_be_reached_and_the_other_cannot(hops):
    task = reach.Reach(names=20)
    batch = task.batch("test", 0, 60, hops)
    edges = 4 * max(hops, 3)
    assert batch.tokens.shape[1] == edges + 4 + edges // 4
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
    task, model = reach.Reach(), build(vocab_size=18 + 1 + 18**2)
    batch = task.batch("test", 0, 5, 3)
    text = batch.tokens[:, :-3]
    for step in range(4):
        text = torch.cat((text, model(text, 1)[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(module.write(model, batch, 3), text[:, 1:])


def test_a_question_reads_as_in_the_docstring():
    task = reach.Reach(hops=2, names=11)
    edges = [task.names + 1 + task.names * (ord(a) - 97) + ord(b) - 97 for a, b in ("bf", "ad", "bg", "di")]
    tokens = torch.tensor([*edges, *edges, task.names, *(ord(letter) - 97 for letter in "jhach")])
    assert task.show(tokens) == "b>f a>d b>g d>i b>f a>d b>g d>i ? j h a"
    assert task.show(tokens, torch.full_like(tokens, 7)) == task.show(tokens) + " -> h"
