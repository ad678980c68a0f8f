"""
How Much Is One Recurrence Worth? Iso-Depth Scaling Laws for Looped Language Models
(Schwethelm, Rückert, Kaissis 2026, arXiv 2604.21106)

The paper measures a loop whose state is normalised at the end of each loop, so that the next one
reads it at one scale, and whose injection begins as e alone:

    h <- norm(core(W [h; e]))                         W (C, 2C) starts as [0 I]

Its hyper-connections take the place of the injection. The state is then K vectors, the lanes, which
begin as copies of e. Each loop t has 2 K + K * K numbers of its own, the same for all tokens and
channels: which lanes it reads, how it mixes them, and how much it writes into each.

    s = norm(core(sum over i of read_i lane_i))       read: one lane, each in turn
    lane_i <- sum over j of mix_ij lane_j + write_i s     mix: the identity; write: 1

(Behind the arrows stands how they start.) The answer is read from the sum of the lanes.
papers/hyperloop.py has gates that depend on the token in their place.

What is different here: the norm, the start of W, and the lanes; as in the authors' code,
github.com/kschwethelm/looped-lm-scaling. (Loops beyond those of training use the numbers of the
last one, which is our choice.)

    python train.py --task multihop --model recurrence_worth --sampler fixed --loops 4 --lanes 2
    python -m claims.recurrence_worth
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from looped import Config, LoopedGPT, RMSNorm


@dataclass
class RecurrenceConfig(Config):
    norm: Literal["pre", "post", "sandwich"] = "pre"
    lanes: int = 1  # K: how many vectors the state has for each token; 1: the plain loop

    def __post_init__(self):
        self.injection = "concat" if self.lanes == 1 else "none"  # lanes take its place
        super().__post_init__()
        if self.lanes < 1:
            raise ValueError(f"lanes must be at least 1, not {self.lanes}")


class Recurrence(LoopedGPT):
    config_class = RecurrenceConfig

    def __init__(self, config):
        super().__init__(config)
        K, loops = config.lanes, config.loops
        self.loop_norm = RMSNorm(config.n_embd)
        if K == 1:
            self.inject.weight.detach()[:, : config.n_embd] = 0
        else:
            self.read = nn.Parameter(torch.eye(K)[torch.arange(loops) % K])  # (loops, K)
            self.mix = nn.Parameter(torch.eye(K).repeat(loops, 1, 1))
            self.write = nn.Parameter(torch.ones(loops, K))

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        return h.repeat(1, 1, self.config.lanes), e, positions

    def loop(self, h, e, t, positions):
        """From lanes (B, T, K C) to the next."""
        if self.config.lanes == 1:
            return self.loop_norm(super().loop(h, e, t, positions))
        own = min(t, self.config.loops - 1)
        lanes = h.unflatten(2, (self.config.lanes, -1))  # (B, T, K, C)
        x = (self.read[own][:, None] * lanes).sum(2)
        s = self.loop_norm(super().loop(x, e, t, positions))
        mixed = torch.einsum("ij, btjc -> btic", self.mix[own], lanes)
        return (mixed + self.write[own][:, None] * s[:, :, None]).flatten(2)

    def readout(self, h):
        return super().readout(self.proper_state(h))

    def proper_state(self, h):
        """What the answer is read from, (B, T, C)."""
        return h.unflatten(2, (self.config.lanes, -1)).sum(2)
