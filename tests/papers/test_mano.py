"""Mano: the answers against a recursive interpreter, and what the questions look like."""

import pytest
import torch
from helpers import paper

from tasks import IGNORE

mano = paper("mano")


def interpret(words, start=0):
    """(value, place of the last word, {last word of a formula: value}) of the formula in prefix notation at `start`."""
    if words[start].isdigit():
        return int(words[start]), start, {}
    a, middle, inside = interpret(words, start + 1)
    b, end, more = interpret(words, middle + 1)
    value = {"+": a + b, "-": a - b, "*": a * b}[words[start]]
    return value, end, inside | more | {end: value}  # of several that end there, the longest


@pytest.mark.parametrize("subformulas", (True, False))
@pytest.mark.parametrize("modulus", (3, 7))
def test_the_answers_are_those_of_an_interpreter(modulus, subformulas):
    task = mano.Mano(operations=5, modulus=modulus, subformulas=subformulas)
    for difficulty in (2, 3, 5, 8):
        batch = task.batch("train", 0, 60, difficulty)
        assert batch.difficulty.tolist() == [difficulty] * 60
        for tokens, targets in zip(batch.tokens, batch.targets):
            *words, equals = task.show(tokens).split()
            value, end, inside = interpret(words)
            assert equals == "=" and end == len(words) - 1 and sum(word in "+-*" for word in words) == difficulty
            asked = (inside if subformulas else {}) | {end + 1: value}
            assert {i: t for i, t in enumerate(targets.tolist()) if t != IGNORE} == {
                i: value % modulus for i, value in asked.items()
            }
            assert (tokens[end + 2 :] == task.padding).all()


def test_what_the_docstring_shows():
    task = mano.Mano()
    tokens = torch.tensor([[5, 3, 2, 0, 2, 6, 7, 7]])
    targets = task.answer(tokens)
    assert f'"{task.show(tokens[0], targets[0])}"' in mano.Mano.__doc__
    assert targets[0, 3:6].tolist() == [2, 1, 1] and task.measure(tokens).tolist() == [2]


def test_every_form_is_drawn_and_no_answer_is_much_more_common():
    task = mano.Mano(modulus=7, subformulas=False)
    batch = task.batch("test", 0, 2000, 3)
    assert len(task.is_operator(batch.tokens[:, :7]).unique(dim=0)) == 5  # the trees with three inner nodes
    share = batch.targets[batch.targets >= 0].bincount(minlength=7) / 2000
    assert share.max() < 0.25 and share.min() > 0.1


def test_only_the_tables_are_in_every_split():
    task = mano.Mano()
    rows = {split: set(map(tuple, task.batch(split, 0, 400, 2).tokens.tolist())) for split in ("train", "val", "test")}
    assert not rows["train"] & rows["test"] and not rows["train"] & rows["val"] and not rows["val"] & rows["test"]
    assert len(task.batch("test", 0, 2000, 1).tokens.unique(dim=0)) == 3 * 9
