"""E5: a question has been answered when two loops in a row say the same at the answer, and are as sure of it."""

from looped import kl

THRESHOLD = 1e-4


def rule(model, before, h, answer_mask, last):
    return kl(model, before, h, answer_mask, last)
