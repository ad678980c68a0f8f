"""Calls on parts against a model that knows the facts."""

import torch
from helpers import paper

from tasks import MultiHop

calls = paper("recursive_calls")


def test_calls_hand_the_answer_on():
    task = MultiHop()

    def knows(tokens, loops):
        """Logits of a model that is always right, and has seen at most PART hops."""
        assert tokens.shape[1] <= calls.PART + 1 and loops == 9
        return torch.nn.functional.one_hot(task.walk(tokens), task.vocab_size).float()

    for hops in (5, 8, 16, 21):
        batch = task.batch("test", 0, 50, hops)
        assert torch.equal(calls.answer_by_calls(knows, task, batch.tokens, 9), batch.targets[:, -1])


def test_who_is_wrong_once_is_wrong_for_good():
    task = MultiHop()

    def errs(tokens, loops):
        """Wrong in the first call alone; the calls after it walk on from where it ended."""
        asked.append(tokens)
        says = (task.walk(tokens) + (len(asked) == 1)) % task.entities
        return torch.nn.functional.one_hot(says, task.vocab_size).float()

    asked = []
    batch = task.batch("test", 0, 200, 24)
    right = calls.answer_by_calls(errs, task, batch.tokens, 9) == batch.targets[:, -1]
    assert right.float().mean() < 0.15  # by chance alone
