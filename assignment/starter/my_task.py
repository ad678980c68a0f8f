"""
E3: a task of your own. Train it, then draw its heat map:

    python train.py --task my_task.py --steps 1000 --threads 1 --overwrite
    python analyze.py depth runs/my_task          writes runs/my_task/depth.png: hand in as e3.png
"""

from dataclasses import dataclass

import torch  # noqa: F401

from tasks import IGNORE, Task  # noqa: F401


@dataclass
class MyTask(Task):
    """What is asked, and one question with its answer as a string."""

    length: int = 6  # the most steps in training; a field is a flag, so no other may be called so

    def __post_init__(self):
        self.max_difficulty = self.length
        self.vocab_size = 10  # how many different tokens there are

    def question(self, generator, difficulty):
        """Tokens (B, T): one question for each difficulty (B,), also above max_difficulty."""
        raise NotImplementedError("E3: draw questions with the generator")

    def answer(self, tokens):
        """The targets (B, T), from the tokens (B, T) alone; IGNORE where nothing is asked."""
        raise NotImplementedError("E3: compute the targets")

    def measure(self, tokens):
        """The difficulty (B,), from the tokens (B, T) alone."""
        raise NotImplementedError("E3: read the difficulty off the tokens")
