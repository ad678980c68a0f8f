"""
A task of staircase.py: to follow one of five things through a long row of moves.

    python train.py --task places
"""

from dataclasses import dataclass

import torch

from tasks import IGNORE, Task


@dataclass
class Places(Task):
    """
    Where is the first of five things? x swaps the first two, y moves the last to the front.

        "0 x y y" -> "1 2 3"      the answer is read at each move

    Tokens: 0..4, x is 5, y is 6, padding is 7. Any permutation of five can come up, and a fixed
    number of layers is thought to be too few for these (S5). Difficulty: moves.
    """

    moves: int = 32  # the most moves in training

    unit = "moves"

    def __post_init__(self):
        self.vocab_size, self.max_difficulty = 8, self.moves
        x, y, padding = [1, 0, 2, 3, 4], [1, 2, 3, 4, 0], [0, 1, 2, 3, 4]
        self.leads = torch.tensor([x, y, padding])  # the new place of a thing at 0, 1, .. 4

    def question(self, generator, difficulty):
        shape = (len(difficulty), max(self.moves, int(difficulty.max())) + 1)
        tokens = torch.randint(5, 7, shape, generator=generator)
        tokens[:, 0] = 0  # stands nowhere else
        return tokens.masked_fill(torch.arange(shape[1]) > difficulty[:, None], 7)

    def answer(self, tokens):
        places, leads = [tokens[:, 0]], self.leads.to(tokens.device)
        for move in tokens[:, 1:].T:
            places.append(leads[move - 5, places[-1]])
        return torch.stack(places, dim=1).masked_fill((tokens < 5) | (tokens == 7), IGNORE)

    def name(self, token):
        return "01234xy."[token]

    def measure(self, tokens):
        return ((tokens == 5) | (tokens == 6)).sum(1)

    def belongs(self, tokens, split):
        few = self.measure(tokens) < 6  # there are too few short questions to keep some apart
        return super().belongs(tokens.masked_fill(tokens == 7, 0), split) | few
