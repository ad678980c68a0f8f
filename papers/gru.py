"""
A recurrent net that reads from left to right, as a control (Cho et al. 2014, arXiv 1406.1078)

It shares the embedding, the head and the training with the looped model, and has about as many
parameters. Its serial steps are the tokens of the question: a step for each, in the order in which
they stand there. That suits facts in the weights that are named in the order of the walk
(multihop), and does not suit facts that stand in the question in any order (chains).

What is different here: the first loop is the whole recurrent net. Loops behind it change nothing.

    python train.py --task multihop --model gru
    python train.py --task chains --model gru
"""

import math
from dataclasses import dataclass, replace

from torch import nn

from looped import Config, LoopedGPT, init_weights


@dataclass
class GRUConfig(Config):
    width: int = 0  # of the recurrent state; 0: such that it has the looped model's parameters


class GRU(LoopedGPT):
    config_class = GRUConfig

    def __init__(self, config):
        looped = LoopedGPT(config)
        parts = (looped.positions, looped.inject, looped.core)
        budget = sum(p.numel() for part in parts for p in part.parameters())
        unused = dict(reembed=False, injection="none", state_init="embed")
        unused |= dict(position="none", coordinates=())
        unused |= dict(backprop_loops=0)  # the first loop is all there is, so none may be cut off
        super().__init__(replace(config, **unused))
        C = config.n_embd
        # a GRU of width w has 3 w^2 + 3 C w weights, and its output C w: 3 w^2 + 4 C w = budget
        width = round((math.sqrt(16 * C**2 + 12 * budget) - 4 * C) / 6)
        width = config.width or width
        self.core = nn.ModuleList()
        self.gru = nn.GRU(C, width, batch_first=True)
        self.out = nn.Linear(width, C, bias=False).apply(init_weights)

    def loop(self, h, e, t, positions):
        if t > 0:
            return h
        read, _ = self.gru(e)  # (B, T, width)
        return self.out(read)
