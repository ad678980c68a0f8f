"""
A task of latent_thoughts.py, after Saunshi et al. (2025): sums of several numbers.

    python train.py --task sums
"""

from dataclasses import dataclass

import torch

from tasks import IGNORE, Task


@dataclass
class Sums(Task):
    """
    Add several numbers of two digits at once. (The task `addition` adds two long numbers.)

        "31+07+45=.. -> 083"      the digits of the sum, read at "=" and the two places behind it
    """

    numbers: int = 6  # the most numbers to add in training

    unit = "numbers"

    def __post_init__(self):
        self.max_difficulty = self.numbers
        self.vocab_size = 14  # 0..9, +, =, a place to answer at, padding

    def question(self, generator, difficulty):
        width = 3 * max(self.numbers, int(difficulty.max())) + 2
        tokens = torch.randint(10, (len(difficulty), width), generator=generator)
        place, end = torch.arange(width), 3 * difficulty[:, None] - 1
        tokens = tokens.masked_fill(place % 3 == 2, 10).masked_fill(place == end, 11)
        return tokens.masked_fill(place > end, 12).masked_fill(place > end + 2, 13)

    def measure(self, tokens):
        return ((tokens == 10) | (tokens == 11)).sum(1)

    def answer(self, tokens):
        place = torch.arange(tokens.shape[1], device=tokens.device)
        end = 3 * self.measure(tokens)[:, None] - 1  # where "=" stands
        digit = tokens.masked_fill((place > end) | (place % 3 == 2), 0)
        worth = torch.where(place % 3 == 0, 10, 1)  # tens, ones
        total = (worth * digit).sum(1, keepdim=True)
        shown = total // 10 ** (2 - (place - end)).clamp(0, 2) % 10
        return shown.masked_fill((place < end) | (place > end + 2), IGNORE)

    def show(self, tokens, prediction=None):
        text = "".join("0123456789+=. "[token] for token in tokens.tolist()).rstrip()
        if prediction is None:
            return text
        digits = prediction[: len(text)][-3:].tolist()
        return f"{text} -> {''.join(str(digit) for digit in digits)}"
