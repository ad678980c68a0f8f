"""
Hyperloop Transformers (Zeitoun, Torroba-Hennigen, Kim 2026, arXiv 2604.21254), with the
hyper-connections of mHC (Xie et al. 2025, arXiv 2512.24880)

A loop hands one vector a token to the next, and everything that it has found must fit in there.
Here the state is n such vectors, the streams, which begin as copies of h. A loop reads a mixture of
them and writes its result back into each. How much, three gates say, for each token and stream:

    x = sum over i of read_i Y_i                      read = sigmoid(..)
    Y_i <- keep_i Y_i + write_i (core(x) + b_t)       keep = sigmoid(..), write = 2 sigmoid(..)

The gates are linear in all streams of the token, after a norm; each loop has its own, and a vector
b_t. The answer is read from the mean of the streams. The layers see one vector, as before, so all
of this costs little.

What is different here: the state is n times as wide, and a loop reads from it and writes to it
through gates. The formulas are those that two descriptions of the paper agree on; we have not seen
the authors' code. How the gates start is ours: as the plain loop in half steps (read 1 / n, keep
and write 1 / 2), plus a little noise that tells the streams apart.

    python train.py --task multihop --model hyperloop --sampler fixed --loops 8 --streams 2
    python -m claims.hyperloop
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from looped import Config, LoopedGPT, RMSNorm


@dataclass
class HyperloopConfig(Config):
    injection: Literal["none", "add", "concat"] = "none"
    norm: Literal["pre", "post", "sandwich"] = "pre"
    streams: int = 4  # n: how many vectors the state has for each token

    def __post_init__(self):
        super().__post_init__()
        if self.streams < 2:
            raise ValueError(f"streams must be at least 2, not {self.streams}")


class Hyperloop(LoopedGPT):
    config_class = HyperloopConfig

    def __init__(self, config):
        super().__init__(config)
        n, width = config.streams, config.streams * config.n_embd
        self.streams_norm = RMSNorm(width)
        self.gates = nn.ModuleList(nn.Linear(width, 3 * n) for _ in range(config.loops))
        self.loop_embedding = nn.Parameter(torch.zeros(config.loops, config.n_embd))  # b_t
        for gate in self.gates:
            nn.init.normal_(gate.weight, std=0.02)
            read, keep, write = gate.bias.detach().chunk(3)
            read.fill_(-math.log(n - 1))  # sigmoid(..) is 1 / n,
            keep.zero_()  # 1 / 2
            write.fill_(-math.log(3))  # and a quarter

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        return h.repeat(1, 1, self.config.streams), e, positions

    def loop(self, h, e, t, positions):
        """From streams (B, T, n C) to the next. Loops beyond those of training: as the last."""
        own = min(t, self.config.loops - 1)
        gates = self.gates[own](self.streams_norm(h)).sigmoid()
        read, keep, write = gates[..., None].chunk(3, dim=2)  # (B, T, n, 1) each
        streams = h.unflatten(2, (self.config.streams, -1))  # (B, T, n, C)
        x = (read * streams).sum(2)
        x = super().loop(x, e, t, positions) + self.loop_embedding[own]
        return (keep * streams + 2 * write * x[:, :, None]).flatten(2)

    def readout(self, h):
        return super().readout(self.proper_state(h))

    def proper_state(self, h):
        """What the answer is read from, (B, T, C)."""
        return h.unflatten(2, (self.config.streams, -1)).mean(2)
