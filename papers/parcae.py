"""
Parcae: Scaling Laws for Stable Looped Language Models (Prairie et al. 2026, arXiv 2604.12946)

If a loop makes the state larger, many loops make it infinite. Parcae rules that out in the place
where the question enters the state: there each channel of the state is multiplied by a decay that
lies between 0 and 1, whatever the model learns. Then stability does not depend on the learning
rate, and the question can be spent: at a budget of compute, how much of it on loops?

What is different here: the injection, in which each channel of the state decays. The other settings
of the paper are those of the preset: Poisson loop counts for each sequence, and a gradient through
half of the loops.

    python train.py --task multihop --preset parcae      with these settings
    python train.py --task multihop --model parcae       with those of the task
    python -m claims.parcae                              the claim: best loops at equal compute
"""

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config, LoopedGPT


@dataclass
class ParcaeConfig(Config):
    injection: str = field(default="diagonal", init=False)  # the only one, so it is no flag


class DiagonalInjection(nn.Module):
    """
    decay * h + step * W e, with two numbers for each channel:

        step  = softplus(raw_step)
        decay = exp(-step * exp(log_rate))

    It starts as 0.45 h + 0.80 e: the step is log(sqrt 5), the decay sqrt(1/5), and W the identity.
    """

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(width))
        raw_step = math.log(math.sqrt(5) - 1)  # softplus(log(x - 1)) is log(x)
        self.raw_step = nn.Parameter(torch.full((width,), raw_step))
        self.log_rate = nn.Parameter(torch.zeros(width))

    def step(self):
        return F.softplus(self.raw_step)  # (C,)

    def decay(self):
        """What remains of each channel of h, (C,). It is below 1, so this part cannot grow."""
        return torch.exp(-self.step() * torch.exp(self.log_rate))

    def forward(self, h, e):
        return self.decay() * h + self.step() * F.linear(e, self.weight)


class Parcae(LoopedGPT):
    config_class = ParcaeConfig

    def __init__(self, config):
        super().__init__(config)
        self.inject = DiagonalInjection(config.n_embd)
