"""
A task of deep_thinking.py, after Bansal et al. (2022): the parity of every prefix of a string.

    python train.py --task prefix_sums
"""

from dataclasses import dataclass

import torch

from tasks import IGNORE, Task


@dataclass
class PrefixSums(Task):
    """
    How many ones so far, odd or even?

        "> 0 1 1 0 1 -> . 0 1 0 0 1"      the parity of each prefix, read at its last bit

    The first token, ">", tells which bit is first. Difficulty: bits. All questions of a batch have
    the most bits that are asked for; a shorter string would only be the beginning of a longer one.
    """

    bits: int = 12  # of a string in training

    unit = "bits"

    def __post_init__(self):
        self.max_difficulty, self.vocab_size = self.bits, 3

    def mixture(self, generator, size, low, high):
        return torch.full((size,), high)

    def difficulties(self, split):
        return [self.bits]

    def question(self, generator, difficulty):
        shape = (len(difficulty), int(difficulty.max()))
        bits = torch.randint(2, shape, generator=generator)
        return torch.cat((torch.full((len(bits), 1), 2), bits), dim=1)

    def measure(self, tokens):
        return (tokens < 2).sum(1)

    def answer(self, tokens):
        return ((tokens == 1).cumsum(1) % 2).masked_fill(tokens == 2, IGNORE)

    def show(self, tokens, prediction=None):
        words = ["01>"[token] for token in tokens.tolist()]
        if prediction is not None:
            words += ["->", ".", *(str(bit) for bit in prediction.tolist()[1:])]
        return " ".join(words)
