"""
The task of self_improvement.py: sums whose numbers differ in length.

    python train.py --task long_sums
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from support.hashing import in_split
from tasks import IGNORE, Addition, Task

PAD = 12


@dataclass
class LongSums(Addition):
    """
    The task `addition` with numbers of 1 to `digits` digits, all drawn at random. The difficulty is
    how many digits they have. (In `addition` it is how far a carry travels.)

        "> 6 7 3 4 = . ."     36 + 47, and padding behind it
    """

    unit = "digits"

    def __post_init__(self):
        super().__post_init__()
        self.vocab_size = 13

    def mixture(self, generator, size, low, high):
        return Task.mixture(self, generator, size, low, high)

    def question(self, generator, difficulty):
        most = max(self.digits, int(difficulty.max()))
        tokens = torch.randint(10, (len(difficulty), 2 * most + 2), generator=generator)
        place, end = torch.arange(tokens.shape[1]), 2 * difficulty[:, None] + 1
        tokens = tokens.masked_fill(place == 0, 11).masked_fill(place == end, 10)
        return tokens.masked_fill(place > end, PAD)

    def measure(self, tokens):
        return (tokens < 10).sum(1) // 2

    def answer(self, tokens):
        digits = F.pad(tokens.masked_fill(tokens >= 10, 0), (0, 2))
        sums = super().answer(digits)
        # the last carry is one place behind the "=", at which it should be read
        targets = torch.where(tokens == 10, sums[:, 1:-1], sums[:, :-2])
        return targets.masked_fill(tokens > 10, IGNORE)

    def parts(self, tokens):
        return {}

    def show(self, tokens, prediction=None):
        end = 2 * int(self.measure(tokens[None])) + 2
        return super().show(tokens[:end], None if prediction is None else prediction[:end])

    def belongs(self, tokens, split):
        few = self.measure(tokens) < 3  # there are too few short ones to keep some apart
        return in_split(tokens.masked_fill(tokens >= 10, 0), split, self.salt) | few
