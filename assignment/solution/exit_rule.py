"""E5: a question has been answered when its whole state stands still."""

from looped import settle

THRESHOLD = 0.05


def rule(model, before, h, answer_mask, last):
    return settle(model, before, h, answer_mask, last)
