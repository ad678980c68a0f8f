"""
E3: a task of your own. Then train it, and draw its heat map:

    python train.py --task my_task.py --steps 1000
    python analyze.py depth runs/my_task
"""

from dataclasses import dataclass

import torch  # noqa: F401

from tasks import IGNORE, Task  # noqa: F401


@dataclass
class MyTask(Task):
    """What is asked, and one question with its answer as a string."""

    steps: int = 6  # the most steps in training

    def __post_init__(self):
        self.max_difficulty = self.steps
        self.vocab_size = self.block_size = self.steps + 1  # different tokens; tokens of the longest question

    def question(self, generator, difficulty):
        raise NotImplementedError("E3: draw questions (B, T), of each difficulty (B,), also above max_difficulty")

    def answer(self, tokens):
        raise NotImplementedError("E3: compute the targets (B, T) from the tokens alone, IGNORE where none is asked")

    def measure(self, tokens):
        raise NotImplementedError("E3: read the difficulty (B,) off the tokens")
