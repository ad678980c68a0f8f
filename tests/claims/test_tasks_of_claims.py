"""The tasks of the claims, each against a plain program in Python."""

import math

import pytest
import torch
from helpers import TINY, main

from claims.facts import Facts
from claims.formulas import Formulas
from claims.hidden_chains import HiddenChains
from claims.long_sums import PAD, LongSums
from claims.places import Places
from claims.prefix_sums import PrefixSums
from claims.reach import Reach
from support.flags import find_task
from tasks import IGNORE
from train import load_model

NAMES = ("facts", "formulas", "hidden_chains", "long_sums", "places", "prefix_sums", "reach")


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_found_by_its_name_and_trains(name, elsewhere):
    more = []
    if not find_task(name).counts_steps:
        more = "--no-curriculum --sampler fixed --loops 2".split()
    main(["--task", name, *more, *TINY])
    model, task, _ = load_model(f"runs/{name}")
    assert type(task) is find_task(name)
    batch = task.batch("val", 0, 5)
    assert task.check(batch, model(batch.tokens, 2).argmax(-1)).shape == (5,)


# ---- prefix sums


def test_a_bit_and_all_before_it():
    task = PrefixSums()
    batch = task.batch("test", 0, 50, 40)
    for question, answer in zip(batch.tokens.tolist(), batch.targets.tolist()):
        assert question[0] == 2 and answer[0] == IGNORE and len(question) == 41
        assert answer[1:] == [question[1 : i + 1].count(1) % 2 for i in range(1, 41)]
    assert (batch.difficulty == 40).all() and task.difficulties("val") == [12]
    assert task.batch("train", 0, 9).tokens.shape == (9, 13)
    first = torch.tensor([2, 0, 1, 1, 0, 1])
    assert task.show(first, task.answer(first[None])[0]) == "> 0 1 1 0 1 -> . 0 1 0 0 1"


# ---- places


def test_where_the_first_thing_is():
    batch = Places(moves=9).batch("test", 0, 40, 12)
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        things = list(range(5))
        for move, target in zip(row[1:], targets[1:]):
            if move == 5:
                things[:2] = things[1::-1]
            if move == 6:
                things = things[-1:] + things[:-1]
            assert target == things.index(0)
        assert row[0] == 0 and len(row) == 13


# ---- facts


def test_each_fact_is_asked_and_answered_the_same_in_every_split():
    task, known = Facts(), {}
    assert len({*map(tuple, task.all().tolist())}) == len(task.all()) == 32 * 32 * 4
    for split in ("train", "val", "test"):
        batch = task.batch(split, 0, 5000)
        assert (batch.targets[:, :2] == IGNORE).all() and batch.targets[:, 2].max() < task.values
        for question, answer in zip(batch.tokens.tolist(), batch.targets[:, 2].tolist()):
            assert known.setdefault(tuple(question), answer) == answer
    assert len(known) > 3900 and len({*known.values()}) == 64
    assert not torch.equal(Facts(seed=1).known, task.known)


# ---- formulas


def interpret(words, start=0):
    """
    (value, place of the last word, {last word of a formula: value}) of the formula in prefix
    notation at `start`.
    """
    if words[start].isdigit():
        return int(words[start]), start, {}
    a, middle, inside = interpret(words, start + 1)
    b, end, more = interpret(words, middle + 1)
    value = {"+": a + b, "-": a - b, "*": a * b}[words[start]]
    return value, end, inside | more | {end: value}  # of several that end there, the longest


@pytest.mark.parametrize("subformulas", (True, False))
@pytest.mark.parametrize("modulus", (3, 7))
def test_formulas_are_those_of_an_interpreter(modulus, subformulas):
    task = Formulas(operations=5, modulus=modulus, subformulas=subformulas)
    for difficulty in (2, 3, 5, 8):
        batch = task.batch("train", 0, 60, difficulty)
        assert batch.difficulty.tolist() == [difficulty] * 60
        for tokens, targets in zip(batch.tokens, batch.targets):
            *words, equals = task.show(tokens).split()
            value, end, inside = interpret(words)
            assert equals == "=" and end == len(words) - 1
            assert sum(word in "+-*" for word in words) == difficulty
            asked = (inside if subformulas else {}) | {end + 1: value}
            wanted = {i: value % modulus for i, value in asked.items()}
            assert {i: t for i, t in enumerate(targets.tolist()) if t != IGNORE} == wanted
            assert (tokens[end + 2 :] == task.padding).all()


def test_a_formula_reads_as_in_the_docstring():
    task = Formulas()
    tokens = torch.tensor([[5, 3, 2, 0, 2, 6, 7, 7]])
    targets = task.answer(tokens)
    assert f'"{task.show(tokens[0], targets[0])}"' in Formulas.__doc__
    assert targets[0, 3:6].tolist() == [2, 1, 1] and task.measure(tokens).tolist() == [2]


def test_every_form_is_drawn_and_no_answer_is_much_more_common():
    task = Formulas(modulus=7, subformulas=False)
    batch = task.batch("test", 0, 2000, 3)
    forms = task.is_operator(batch.tokens[:, :7]).unique(dim=0)
    assert len(forms) == 5  # the trees with three inner nodes
    share = batch.targets[batch.targets >= 0].bincount(minlength=7) / 2000
    assert share.max() < 0.25 and share.min() > 0.1


def test_only_the_tables_are_in_every_split():
    task = Formulas()
    rows = {}
    for split in ("train", "val", "test"):
        rows[split] = {tuple(row) for row in task.batch(split, 0, 400, 2).tokens.tolist()}
    assert not rows["train"] & rows["test"]
    assert not rows["train"] & rows["val"] and not rows["val"] & rows["test"]
    assert len(task.batch("test", 0, 2000, 1).tokens.unique(dim=0)) == 3 * 9


# ---- long sums


def test_long_sums_are_those_of_python():
    task = LongSums(digits=4)
    for difficulty in (None, 1, 3, 9):
        batch = task.batch("test", 0, 60, difficulty)
        for tokens, targets, digits in zip(*(part.tolist() for part in batch)):
            n = (tokens.index(10) - 1) // 2
            a, b = (int("".join(map(str, tokens[first : 2 * n + 1 : 2][::-1]))) for first in (1, 2))
            said = [targets[place] for place in (*range(2, 2 * n + 1, 2), 2 * n + 1)]
            assert int("".join(map(str, said[::-1]))) == a + b
            assert digits == n == difficulty or difficulty is None
            assert sum(target != IGNORE for target in targets) == n + 1
            assert set(tokens[2 * n + 2 :]) <= {PAD} and tokens[0] == 11
            shown = task.show(torch.tensor(tokens), torch.tensor(targets))
            assert shown == f"{a:0{n}}+{b:0{n}}={a + b:0{n + 1}}"


def test_a_question_keeps_its_split_when_it_is_padded():
    tokens = LongSums(digits=4).batch("val", 0, 50, 4).tokens
    wide = torch.nn.functional.pad(tokens, (0, 6), value=PAD)
    assert LongSums(digits=7).belongs(wide, "val").all()
    assert not LongSums(digits=7).belongs(wide, "test").any()


# ---- reach


def reachable(edges, root):
    found = {root}
    while more := {b for a, b in edges if a in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_the_node_can_be_reached_and_the_other_cannot(hops):
    task = Reach(names=20)
    batch = task.batch("test", 0, 60, hops)
    edges = 4 * max(hops, 3)
    assert batch.tokens.shape[1] == edges + 4 + edges // 4
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        graph = [divmod(token - 21, 20) for token in row[:edges]]
        one, other, root = row[edges + 1 : edges + 4]
        reached, answer = reachable(graph, root), targets[-1]
        assert {one in reached, other in reached} == {True, False}
        assert answer in (one, other) and answer in reached
        way = [root, *row[edges + 4 :]]
        assert all(step in graph for step in zip(way, way[1:])) and row[edges] == 20
        assert targets[edges + 3 :] == way[1:] + [answer]
        assert targets[: edges + 3] == [IGNORE] * (edges + 3)
        rest = reachable(graph, answer)  # the rest of the branch is behind it
        assert edges // 4 - len(rest) + 1 == hops


def test_a_graph_reads_as_in_the_docstring():
    task = Reach(hops=2, names=11)
    names = [(ord(a) - 97, ord(b) - 97) for a, b in ("bf", "ad", "bg", "di")]
    edges = [task.names + 1 + task.names * a + b for a, b in names]
    asked = [ord(letter) - 97 for letter in "jhach"]
    tokens = torch.tensor([*edges, *edges, task.names, *asked])
    assert task.show(tokens) == "b>f a>d b>g d>i b>f a>d b>g d>i ? j h a"
    assert task.show(tokens, torch.full_like(tokens, 7)) == task.show(tokens) + " -> h"


# ---- texts of a hidden chain


def test_the_lowest_loss_is_that_of_all_walks_that_write_the_text():
    task = HiddenChains(hidden=6, letters=2, ways=2, length=5)
    texts = task.batch("test", 0, 40).tokens

    def odds(state, text):
        """That a walk from this state writes the text."""
        if state % task.letters != text[0]:
            return 0.0
        if len(text) == 1:
            return 1.0
        onward = zip(task.odds[state].tolist(), task.follows[state].tolist())
        return sum(chance * odds(after, text[1:]) for chance, after in onward)

    def nats(text):
        all_of_it, first = (sum(odds(s, part) for s in range(6)) for part in (text, text[:1]))
        return -math.log(all_of_it / first) / (len(text) - 1)

    mean = sum(nats(text) for text in texts.tolist()) / len(texts)
    assert task.lowest_loss(texts) == pytest.approx(mean, abs=1e-5)


def test_at_each_letter_the_next_one_is_asked():
    task = HiddenChains()
    batch = task.batch("test", 0, 30)
    assert (batch.targets[:, :-1] == batch.tokens[:, 1:]).all()
    assert (batch.targets[:, -1] == IGNORE).all()
    first = torch.tensor([3, 1, 15, 0, 1])
    assert f'"{task.show(first, torch.tensor([1, 15, 0, 1, 3]))}"' in HiddenChains.__doc__
