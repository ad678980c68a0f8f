"""Mano: the answers against a recursive interpreter, and what the questions look like."""

import torch
from helpers import paper

mano = paper("mano")


def value(words):
    """The value of a formula in prefix notation, of which nothing may be left."""
    word = words.pop(0)
    if word.isdigit():
        return int(word)
    a, b = value(words), value(words)
    return {"+": a + b, "-": a - b, "*": a * b}[word]


def test_the_answers_are_those_of_an_interpreter():
    task = mano.Mano(operations=5)
    for difficulty in (1, 3, 5, 8):
        batch = task.batch("train", 0, 60, difficulty)
        for tokens, targets in zip(batch.tokens, batch.targets):
            words = task.show(tokens).split()
            assert words.pop() == "=" and sum(word in "+-*" for word in words) == difficulty
            end = tokens.tolist().index(10)
            assert targets[end] == value(words) % 7 and not words
            assert targets.ne(-100).sum() == 1 and (tokens[end + 1 :] == 11).all() and end == 2 * difficulty + 1


def test_what_the_docstring_shows():
    task = mano.Mano()
    tokens = torch.tensor([[9, 7, 3, 5, 2, 10, 11, 11]])
    assert f'"{task.show(tokens[0], task.answer(tokens)[0])}"' in mano.Mano.__doc__
    assert task.measure(tokens).tolist() == [2]


def test_every_form_is_drawn_and_no_answer_is_much_more_common():
    task = mano.Mano()
    batch = task.batch("test", 0, 2000, 3)
    operators = ((batch.tokens >= 7) & (batch.tokens < 10))[:, :7]
    assert len(operators.unique(dim=0)) == 5  # the trees with three inner nodes
    share = batch.targets[batch.targets >= 0].bincount(minlength=7) / 2000
    assert share.max() < 0.25 and share.min() > 0.1


def test_only_the_tables_are_in_every_split():
    task = mano.Mano()
    rows = {split: set(map(tuple, task.batch(split, 0, 400, 2).tokens.tolist())) for split in ("train", "val", "test")}
    assert not rows["train"] & rows["test"] and not rows["train"] & rows["val"] and not rows["val"] & rows["test"]
    assert len(task.batch("test", 0, 2000, 1).tokens.unique(dim=0)) == 3 * 49
