"""
Equilibrium Reasoners: Learning Attractors Enables Scalable Reasoning
(Huang, Geng, Kolter 2026, arXiv 2605.21488)

A loop should come to rest at the solution of a puzzle, wherever it started. Two things in training
make the region larger from which it gets there: every start is noise, and every step is damped and
shaken, h <- (1 - l) h + l f(h) + noise. Then there are two ways to think more: longer, or again
from another start. A loop that went astray does not come to rest, so of several starts one takes
the answer of the one that moves the least. Nobody has to know the solution for that.

What is different here: the start (`state_init="noise"`), and the step.

    python train.py --task sudoku --model equilibrium
    python -m claims.equilibrium            several starts, and the choice among them
"""

from dataclasses import dataclass
from typing import Literal

import torch

from looped import Config, LoopedGPT


@dataclass
class EquilibriumConfig(Config):
    state_init: Literal["embed", "zeros", "noise"] = "noise"  # anew in each call
    damping: float = 0.05  # how much of the old state a step keeps, 1 - l
    noise: float = 0.01  # standard deviation of what shakes each step

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.damping < 1:
            raise ValueError(f"damping={self.damping} must be at least 0 and below 1")
        if self.noise < 0:
            raise ValueError(f"noise={self.noise} must not be negative")


class Equilibrium(LoopedGPT):
    config_class = EquilibriumConfig

    def loop(self, h, e, t, positions):
        keep = self.config.damping
        h = keep * h + (1 - keep) * super().loop(h, e, t, positions)
        return h + self.config.noise * torch.randn_like(h)
