"""
On Expressive Power of Looped Transformers: Theoretical Analysis and Enhancement via Timestep
Encoding (Xu, Sato 2025, arXiv 2410.01405)

All loops are the same map. The paper bounds the error of such a map, used as often as one likes; a
part of the bound is due to the shared weights. So it tells each loop its number t = 0, 1, 2, .. and
lets it scale its branches by that. Sines of t go through a small net to a vector c(t), and a matrix
makes four vectors of c(t), two gates g and two scales s:

    x = h + g1(t) * attention(norm(h) * (1 + s1(t)))
    h = x + g2(t) * mlp(norm(x) * (1 + s2(t)))

The matrices of attention and MLP stay the same in all loops. More loops need no more weights. (LoRA
for each loop, papers/relaxed_recursive.py, changes the matrices, and each loop adds weights.)

What is different here: `core_of(t)` gives the core the vector c(t). The clock and the block are
those of papers/loopformer.py, where a loop is told a share of the way and the size of its step. As
in the authors' code, the core is pre-norm, the question enters only at the start, and the gates
start at zero: at first a loop changes nothing. It is ours that the norms have gains, and that there
may be several blocks, each with its own matrix. A loop beyond those of training is told a number
that it never met.

    python train.py --task multihop --model timestep --sampler fixed --loops 6
    python -m claims.timestep
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from looped import Config, LoopedGPT, init_weights
from papers.loopformer import Clock, ModulatedBlock


@dataclass
class TimestepConfig(Config):
    injection: Literal["none", "add", "concat"] = "none"
    norm: Literal["pre", "post", "sandwich"] = "pre"
    told: bool = True  # tell each loop its number; False: all are told 0

    def __post_init__(self):
        super().__post_init__()
        if not self.tied or self.norm != "pre":
            raise ValueError("timestep has one core, with pre-norm: leave out tied and norm")


class TimestepGPT(LoopedGPT):
    config_class = TimestepConfig

    def __init__(self, config):
        super().__init__(config)
        self.clock = Clock(config.n_embd)  # from t to c(t)
        self.core = nn.ModuleList(ModulatedBlock(config) for _ in range(config.n_core))
        for part in (self.clock, self.core):
            part.apply(init_weights)
        for block in self.core:
            nn.init.zeros_(block.modulate.weight)
            nn.init.zeros_(block.modulate.bias)

    def core_of(self, t):
        now = torch.full((1,), t if self.config.told else 0, device=self.embed.weight.device)
        signal = self.clock(now)  # (1, C), the same for all sequences
        return [partial(block, signal=signal) for block in self.core]
