"""
A recurrent net that reads from left to right, as a control (Cho et al. 2014).

    python train.py --task multihop --model gru
    python train.py --task chains --model gru --edges

It shares the embedding, the head and the training with the looped model, and has about as many parameters. Its serial
steps are the tokens of the question: a step for each, in the order in which they stand there. That suits facts in the
weights that are named in the order of the walk (multihop), and not facts in the question in any other order (chains).
"""

import math
from dataclasses import dataclass, replace

from torch import nn

from attention import init_weights
from chains import EdgeEmbedding, EdgeGPT
from looped import Config, LoopedGPT


@dataclass
class GRUConfig(Config):
    width: int = 0  # of the recurrent state; 0: with about as many parameters as the looped model of these settings
    edges: bool = False  # tokens can be edges, as those of --task chains are


class GRU(LoopedGPT):
    config_class = GRUConfig

    def __init__(self, config):
        looped = LoopedGPT(config)
        parts = (looped.positions, looped.inject, looped.core)
        budget = sum(p.numel() for part in parts for p in part.parameters())
        unused = dict(reembed=False, injection="none", state_init="embed", position="none", coordinates=())
        super().__init__(replace(config, **unused, backprop_loops=0))  # no gradient is cut off: the first loop is all
        C = config.n_embd
        width = config.width or round((math.sqrt(16 * C**2 + 12 * budget) - 4 * C) / 6)  # 3 w^2 + 4 C w = budget
        self.core = nn.ModuleList()
        self.gru, self.out = nn.GRU(C, width, batch_first=True), nn.Linear(width, C, bias=False)
        self.out.apply(init_weights)
        if config.edges:
            self.embed = EdgeEmbedding(EdgeGPT.names_of(config.vocab_size), C).apply(init_weights)

    def loop(self, h, e, t, where, cache=None):
        """The first loop reads, those behind it change nothing."""
        if t > 0:
            return h
        read, last = self.gru(e, None if cache is None else cache.kept.get("gru"))
        if cache is not None:
            cache.kept["gru"] = last
        return self.out(read)
