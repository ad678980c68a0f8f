"""Capo: the facts, and the bits that a model holds, against who knows all, nothing, or half."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import paper
from torch.nn import functional as F

capo = paper("capo")


class Knows:
    """Is sure of the facts of some names (those whose first letter is below `letters`) and guesses the others."""

    def __init__(self, task, letters):
        self.task, self.letters = task, letters

    def __call__(self, tokens):
        known = F.one_hot(self.task.answer(tokens)[:, -1], self.task.vocab_size) * 100.0
        logits = torch.where(tokens[:, :1] < self.letters, known, 0.0)
        return logits.masked_fill(torch.arange(self.task.vocab_size) >= self.task.values, -1e9)[:, None]


@pytest.mark.parametrize("letters", [0, 16, 32])
def test_the_bits_of_what_is_known(letters):
    task = capo.Facts()
    assert capo.bits(Knows(task, letters), task) == pytest.approx(4096 * 6 * letters / 32, abs=1)


def test_to_be_wrong_for_sure_costs_bits():
    task = capo.Facts(letters=2, attributes=1, values=4)
    wrong = SimpleNamespace(answer=lambda tokens: (task.answer(tokens) + 1) % 4, vocab_size=4, values=4)
    assert capo.bits(Knows(wrong, 2), task) < -4 * math.log2(4)


def test_each_fact_is_asked_and_answered_the_same_in_every_split():
    task, known = capo.Facts(), {}
    assert len({*map(tuple, task.all().tolist())}) == len(task.all()) == 32 * 32 * 4
    for split in ("train", "val", "test"):
        batch = task.batch(split, 0, 5000)
        assert (batch.targets[:, :2] == -100).all() and batch.targets[:, 2].max() < task.values
        for question, answer in zip(batch.tokens.tolist(), batch.targets[:, 2].tolist()):
            assert known.setdefault(tuple(question), answer) == answer
    assert len(known) > 3900 and len({*known.values()}) == 64
    assert not torch.equal(capo.Facts(seed=1).known, task.known)
