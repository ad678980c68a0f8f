"""
Sotaku v2: training on later iterations (Lou 2026, github.com/chenglou/sotaku), after the
progressive loss of Bansal et al. 2022 (arXiv 2202.05826)

A loop is trained with a few loops and used with a thousand. Then it meets states that training
never showed, and may spoil an answer that it had. So in a fifth of the batches it first loops long
without a gradient, and goes on from there with the usual loops and the usual loss. Training sees
late states, right ones and stuck ones, at the price of some forward passes; nothing else changes.
The number of loops before is drawn from least_late, its double, its fourfold, .. up to most_late.

In the progressive loss (papers/deep_thinking.py) each sequence starts at a loop of its own, within
the number of loops of the training. Here the whole batch starts at one, far beyond it.

What is different here: where the loss begins. (Theirs: 32 to 512 loops before the 16 that have a
loss, four layers, pre-norm, and the prediction is fed back. The defaults are for a CPU, where late
batches add about a quarter to the time of 12 loops.)

    python train.py --task sudoku --model late_states
    python train.py --task sudoku --model late_states --least_late 32 --most_late 512
    python -m claims.late_states
"""

from dataclasses import dataclass

import torch

from looped import Config, LoopedGPT


@dataclass
class LateConfig(Config):
    late: float = 0.2  # share of the batches that begin at a late state
    least_late: int = 12  # fewest loops before a late state (theirs: 32)
    most_late: int = 96  # most of them (theirs: 512), by doubling

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.late <= 1:
            raise ValueError(f"late is a share, 0..1, not {self.late}")
        if not 1 <= self.least_late <= self.most_late:
            raise ValueError("least_late must be at least 1, and most_late no less than that")
        if not self.tied:
            raise ValueError("late states are beyond the layers of an untied model")


class LateStates(LoopedGPT):
    config_class = LateConfig

    def loss(self, tokens, targets, loops=None):
        h = None
        if torch.rand(()) < self.config.late:
            with torch.no_grad():
                h = self.think(tokens, self.draw_loops())
        if self.config.loss == "every":
            states = list(self.states(tokens, loops, h))[1:]
        else:
            states = [self.think(tokens, loops, h)]
        losses = []
        for h in states:
            losses_of_state, prediction = self.token_losses(h, targets)
            losses.append(losses_of_state)
        return torch.stack(losses).mean(), prediction

    def draw_loops(self):
        """The number of loops before a late state: least_late, its double, .. up to most_late."""
        doublings = (self.config.most_late // self.config.least_late).bit_length()
        return self.config.least_late * 2 ** int(torch.randint(doublings, ()))
