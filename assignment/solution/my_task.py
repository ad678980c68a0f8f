"""E3: where is the first of five things after some moves? Each move changes the order of all."""

from dataclasses import dataclass

import torch

from tasks import IGNORE, Task


@dataclass
class Places(Task):
    """
    Five things stand in a row. The move x swaps the first two; y puts the last in front of all. At
    each move the place is asked where the thing that was first stands now: "0 x y y" -> "1 2 3".

    Tokens: the places 0 to 4, the moves x = 5 and y = 6, and 7 for padding.
    """

    moves: int = 8  # the most moves in training

    def __post_init__(self):
        self.vocab_size = 8
        self.max_difficulty = self.moves
        # leads[move, place]: where x, y and the padding take the thing that stands at a place
        self.leads = torch.tensor([[1, 0, 2, 3, 4], [1, 2, 3, 4, 0], [0, 1, 2, 3, 4]])

    def question(self, generator, difficulty):
        width = max(self.moves, int(difficulty.max())) + 1
        tokens = torch.randint(5, 7, (len(difficulty), width), generator=generator)
        tokens[:, 0] = 0  # 0 stands at the start alone, so that each position can find the start
        return tokens.masked_fill(torch.arange(width) > difficulty[:, None], 7)

    def answer(self, tokens):
        places = [tokens[:, 0]]
        for move in tokens[:, 1:].T:
            places.append(self.leads[move - 5, places[-1]])
        nothing_asked = (tokens == 0) | (tokens == 7)
        return torch.stack(places, dim=1).masked_fill(nothing_asked, IGNORE)

    def measure(self, tokens):
        return ((tokens == 5) | (tokens == 6)).sum(1)

    def belongs(self, tokens, split):
        short = self.measure(tokens) < 6  # there are too few short questions to keep some apart
        return super().belongs(tokens, split) | short
