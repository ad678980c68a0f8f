"""
Chains against a walker in plain Python; what must not give the answer away; and tokens that are
edges.
"""

import argparse
import math
from collections import Counter

import pytest
import torch
from helpers import TINY, build, main, metrics, refused

from looped import LoopedGPT
from more_tasks.chains import Chains, EdgeEmbedding
from tasks import IGNORE
from train import load_model


def parse(task, tokens):
    """From the text alone: its edges [(a, b)] in their order, and the names asked for."""
    facts, asked = task.show(torch.tensor(tokens)).split(" ? ")
    number = {task.name(token): token for token in range(task.names)}
    edges = [tuple(number[name] for name in edge.split(">")) for edge in facts.split()]
    return edges, [number[name] for name in asked.split()]


def walk(edges, node):
    """The end of the chain and the edges to it."""
    leads, steps = dict(edges), 0
    while node in leads:
        node, steps = leads[node], steps + 1
    return node, steps


def ends(edges):
    """The nodes that nothing leads on from, in the order of the text."""
    begins = {a for a, _ in edges}
    return [b for _, b in edges if b not in begins]


@pytest.mark.parametrize(
    "split, difficulty, sizes",
    (
        ("train", None, {}),
        ("val", 6, {}),
        ("test", 1, {}),
        ("test", 24, {}),
        ("test", 3, dict(hops=2, spare=3, chains=5)),
    ),
)
def test_chains_against_a_walker(split, difficulty, sizes):
    task = Chains(**sizes)
    batch = task.batch(split, 0, 100, difficulty)
    rows = zip(*(part.tolist() for part in (*batch, task.truth(batch))))
    for tokens, targets, asked, truth in rows:
        edges, starts = parse(task, tokens)
        length = max(task.hops, difficulty or 1) + task.spare
        assert len(edges) == task.chains * length and len(starts) == (
            task.questions if split == "train" else 1
        )
        begins, leads_to = Counter(a for a, _ in edges), Counter(b for _, b in edges)
        assert max(begins.values()) == max(leads_to.values()) == 1
        heads = set(begins) - set(leads_to)
        assert len(heads) == task.chains and all(walk(edges, head)[1] == length for head in heads)
        found = [walk(edges, start) for start in starts]
        assert targets == [IGNORE] * (len(tokens) - len(starts)) + [end for end, _ in found]
        assert found[-1][1] == asked and all(1 <= steps <= asked for _, steps in found)
        assert (
            truth[: len(edges)] == [walk(edges, b)[0] for _, b in edges]
            and truth[len(edges) :] == targets[len(edges) :]
        )
    if difficulty is None:
        assert set(batch.difficulty.tolist()) == {1, 2, 3, 4, 5, 6}


def test_a_picture_shows_the_edges_of_a_chain_beside_each_other():
    task = Chains(hops=5)
    tokens = task.batch("test", 0, 1).tokens[0]
    edges, order = parse(task, tokens.tolist())[0], task.order(tokens)
    assert sorted(order) == list(range(len(tokens))) and order[15:] == [15, 16]
    for chain in (order[:5], order[5:10], order[10:15]):
        assert [walk(edges, edges[i][1])[1] for i in chain] == [0, 1, 2, 3, 4]
        assert len({walk(edges, edges[i][1])[0] for i in chain}) == 1


def test_chains_shows_what_its_docstring_promises():
    task, line = Chains(names=26, chains=2, hops=3), "f>k b>f q>z k>d r>q z>s ? b -> d"
    facts, asked = line.removesuffix(" -> d").split(" ? ")
    tokens = [27 + 26 * (ord(a) - 97) + ord(b) - 97 for a, _, b in facts.split()] + [
        26,
        ord(asked) - 97,
    ]
    tokens = torch.tensor([tokens])
    assert task.show(tokens[0], task.answer(tokens)[0]) == line and task.measure(
        tokens
    ).tolist() == [3]
    assert line in Chains.__doc__


# ---- what must not give the answer away


GUESSES = {
    "the first end in the text": lambda edges, start: ends(edges)[0],
    "the last end in the text": lambda edges, start: ends(edges)[-1],
    "the end with the smallest number": lambda edges, start: min(ends(edges)),
    "the end nearest to the start in the text": lambda edges, start: min(
        ends(edges),
        key=lambda end: abs([b for _, b in edges].index(end) - [a for a, _ in edges].index(start)),
    ),
    "the next end behind the start in the text": lambda edges, start: ends(
        edges[[a for a, _ in edges].index(start) :] + edges
    )[0],
}


@pytest.fixture(scope="module")
def asked():
    """A thousand questions of each of several difficulties."""
    return {
        difficulty: Chains().batch("test", 0, 1000, difficulty) for difficulty in (1, 6, 12, 24)
    }


@pytest.mark.parametrize("guess", GUESSES)
def test_knowing_the_ends_leaves_chance(guess, asked):
    task = Chains()
    for difficulty in (6, 12, 24):
        batch, right = asked[difficulty], 0
        for tokens, target in zip(batch.tokens.tolist(), batch.targets.tolist()):
            edges, (start,) = parse(task, tokens)
            right += GUESSES[guess](edges, start) == target[-1]
        n = len(batch.tokens)
        assert abs(right / n - 1 / 3) < 4 * math.sqrt(2 / 9 / n), difficulty


def test_no_name_and_no_place_is_the_answer_more_often_than_others(asked):
    task = Chains()
    for difficulty in (1, 6, 24):
        batch = asked[difficulty]
        answers, starts = batch.targets[:, -1:], batch.tokens[:, -1:]
        source, target, _ = task.read(batch.tokens)
        expected = len(answers) / task.names
        most = answers[:, 0].bincount(minlength=task.names).max()
        assert most < expected + 5 * math.sqrt(expected)
        for place in ((target == answers).int().argmax(1), (source == starts).int().argmax(1)):
            expected = len(answers) / source.shape[1]
            counts = place.bincount(minlength=source.shape[1])
            assert (counts - expected).abs().max() < 5 * math.sqrt(expected)
        said = torch.cat((source, target), dim=1)  # an end is named once, as a head is
        assert ((said == answers).sum(1) == 1).all()


def test_the_length_of_a_question_tells_nothing():
    task = Chains(spare=2)
    assert (
        len({task.batch("train", 0, 10, (1, level)).tokens.shape[1] for level in range(1, 7)}) == 1
    )
    assert (
        len({task.batch("val", 0, 10, difficulty).tokens.shape[1] for difficulty in range(1, 7)})
        == 1
    )


def test_the_start_has_edges_before_it_wherever_chains_have_some_to_spare():
    source, target, asked = Chains(spare=2).read(Chains(spare=2).batch("val", 0, 50, 9).tokens)
    assert (target == asked).any(1).all()
    source, target, asked = Chains().read(Chains().batch("val", 0, 50, 9).tokens)
    assert not (target == asked).any()


def test_the_shortcut_answers_with_the_first_end():
    task = Chains()
    batch = task.batch("test", 0, 300, 12)
    (said,) = task.shortcuts(batch).values()
    assert said[:, -1].tolist() == [
        ends(parse(task, tokens)[0])[0] for tokens in batch.tokens.tolist()
    ]
    assert abs(task.check(batch, said).float().mean() - 1 / 3) < 4 * math.sqrt(2 / 9 / 300)


# ---- batches and splits


def test_a_batch_is_a_pure_function_of_seed_split_and_step():
    first = Chains().batch("train", 5, 16)
    again = Chains()
    again.batch("val", 5, 16)
    torch.manual_seed(123)
    assert all(torch.equal(one, two) for one, two in zip(first, again.batch("train", 5, 16)))
    others = [again.batch("train", 6, 16), Chains(seed=1).batch("train", 5, 16)]
    assert not any(torch.equal(first.tokens, other.tokens) for other in others)


def test_splits_are_disjoint_whatever_the_order_of_the_facts_and_the_seed():
    small = dict(names=6, chains=2, hops=1, questions=1)  # so few that they would meet

    def facts(split, seed):
        task = Chains(**small, seed=seed)
        rows = [row for step in range(20) for row in task.batch(split, step, 100).tokens.tolist()]
        return {frozenset(parse(task, row)[0]) for row in rows}

    train, val, test = facts("train", 0), facts("val", 1), facts("test", 2)
    assert len(train) > 100 and len(val) > 10 and len(test) > 10
    assert not train & val and not train & test and not val & test


def test_the_questions_beside_the_last_do_not_change_it():
    batch = Chains().batch("train", 0, 50)
    T = batch.tokens.shape[1]
    alone = batch.tokens[:, [*range(T - 8), T - 1]]
    assert torch.equal(Chains().measure(alone), batch.difficulty)
    assert torch.equal(Chains().answer(alone)[:, -1], batch.targets[:, -1])
    wrong = batch.targets.clone()
    wrong[:, -2] = 0
    assert Chains().check(batch, wrong).all() and not Chains().check(batch, batch.targets + 1).any()


def test_sizes_that_cannot_work_are_refused(capsys):
    for sizes in (dict(hops=0), dict(chains=0), dict(questions=0), dict(spare=-1), dict(names=20)):
        with pytest.raises(ValueError, match="must be at least|need 21 names"):
            Chains(**sizes)
    with pytest.raises(ValueError, match="3 chains of 30 edges need 93 names, not 80"):
        Chains().batch("val", 0, 4, 30)


# ---- the model


def small_model(**changes):
    """For nine names, with the embedding that the task brings."""
    model = build(vocab_size=9 + 1 + 81, causal=False, position="none", **changes)
    model.embed = EdgeEmbedding(9, model.config.n_embd)
    with torch.no_grad():
        for p in model.embed.parameters():
            p.normal_()
    return model


def test_an_edge_is_its_end_and_a_map_of_its_beginning():
    model = small_model()
    names, source = model.embed.weight, model.embed.source.weight
    tokens = torch.tensor([[10 + 9 * a + b for a in range(9) for b in range(9)] + list(range(10))])
    by_hand = [names[b] + source @ names[a] for a in range(9) for b in range(9)] + list(names[:10])
    assert torch.allclose(model.embed(tokens)[0], torch.stack(by_hand), atol=1e-6)
    assert model(tokens, 2).shape == (1, 91, 10)  # the answer is a name, or "?"


@pytest.mark.parametrize("names", (21, 80))
def test_the_task_brings_an_embedding_of_its_names(names):
    task = Chains(names=names)
    torch.manual_seed(0)
    embedding = task.embedding(argparse.Namespace(n_embd=64))
    assert embedding.weight.shape == (names + 1, 64) and embedding.source.weight.shape == (64, 64)
    assert 0.019 < embedding.weight.std() < 0.021  # as that of any model: see init_weights
    assert 0.12 < embedding.source.weight.std() < 0.13
    tokens = torch.arange(task.vocab_size)
    assert len(embedding(tokens).unique(dim=0)) == task.vocab_size  # no two tokens look the same


def test_the_answer_does_not_depend_on_the_order_of_the_facts():
    model, task = small_model(reembed=True), Chains(names=9, chains=2, hops=2)
    tokens = task.batch("test", 0, 20, 2).tokens
    other = tokens[:, [2, 0, 3, 1, 4, 5]]
    assert torch.allclose(model(tokens, 5)[:, -1], model(other, 5)[:, -1], atol=1e-5)
    swapped = tokens[:, [0, 1, 2, 3, 4, 0]] % 9
    assert not torch.allclose(model(tokens, 5)[:, -1], model(swapped, 5)[:, -1], atol=1e-3)


def test_chains_are_trained_with_their_embedding(elsewhere, capsys):
    sizes = [*TINY, "--n_head", "1", "--hops", "2", "--names", "20"]
    main(["--task", "chains", *sizes, "--out", "whole"])
    main(["--task", "chains", *sizes, "--out", "parts", "--minutes", "0.000001"])
    main(["--out", "parts", "--resume", "--minutes", "0"])
    assert metrics("parts") == metrics("whole")
    model, task, flags = load_model("whole")
    assert type(model) is LoopedGPT and isinstance(task, Chains) and flags.model == "looped"
    assert isinstance(model.embed, EdgeEmbedding)
    said = refused(lambda: main(["--task", "chains", "--names", "20"]), capsys)
    assert said.endswith("need 21 names, not 20\n")
