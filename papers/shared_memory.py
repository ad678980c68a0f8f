"""
The Surprising Effectiveness of Shared Memory in Looped Transformers (Monea et al. 2026,
arXiv 2610.02383), and MELT, Memory-Efficient Looped Transformer (Conchello Vendrell et al. 2026,
arXiv 2605.07721)

To read a text token by token, a model keeps the keys and values of the tokens before. A looped
model makes new ones in every loop, so what it has to keep grows with the loops. Here all loops
share one memory:

    first    Only the first loop fills it. Later loops see it and, in the same softmax, what they
             made themselves of the token and of the few before it (`window`).
    none     A control: later loops see that window alone.
    gated    MELT: a layer keeps one vector m for a token, and makes the key and the value from it.
             A loop mixes into m what the plain layer would make them from, x:
             m <- z m + (1 - z) x,    z = sigmoid(W x + U m + b)

What is different here: what the layers of the core keep, and see. (Of the papers we have seen the
abstracts and descriptions by others. The window of `first` is 64 tokens there, in texts of 4,096.
How m and b start is not known to us; here m starts as x, and b as 0. By one description z runs
along the tokens; we let it run over the loops, as another says. MELT starts from a trained loop,
which is its teacher, too, and goes through a text in chunks; here it has no teacher, and a text is
one chunk.)

In training all tokens loop together, so with `gated` a token sees the others after as many loops
as its own. A reader that keeps one memory sees the tokens before it as they are after all loops.
To ask the model in this way, read with the last loop's cache of analyses/cache.py.

    python train.py --task multihop --model shared_memory --sampler fixed --loops 8 --memory gated
    python -m claims.shared_memory
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config
from papers.cotformer import CoTFormer, RecallingAttention


@dataclass
class SharedConfig(Config):
    memory: Literal["first", "gated", "none"] = "first"  # what all loops share; gated: MELT
    window: int = 0  # first, none: tokens before it that a later loop sees as it made them

    def __post_init__(self):
        super().__post_init__()
        if not self.tied:
            raise ValueError("loops that share a memory share their weights: leave out --no-tied")
        if self.window and self.memory == "gated":
            raise ValueError("a window goes with memory='first' or 'none'")


class SharedAttention(RecallingAttention):
    def __init__(self, config):
        super().__init__(config)
        self.gated, self.window = config.memory == "gated", config.window
        self.shares = config.memory != "none"
        self.room = config.n_embd * (1 if self.gated else 2)  # m, or a key and a value
        if self.gated:
            self.gate = nn.Linear(2 * config.n_embd, config.n_embd)  # W, U and b
            nn.init.zeros_(self.gate.bias)

    def queries_keys_values(self, x, memory):
        if not self.gated:
            return super().queries_keys_values(x, memory)
        m = x
        if memory.t > 0:
            z = self.gate(torch.cat((x, memory.kept), dim=2)).sigmoid()
            m = z * memory.kept + (1 - z) * x
        memory.kept = m
        C = x.shape[2]
        q, keys_values = F.linear(x, self.qkv.weight[:C]), F.linear(m, self.qkv.weight[C:])
        return q, *keys_values.chunk(2, dim=2)

    def recall(self, k, v, memory):
        bias = memory.bias
        if self.gated:
            return k, v, bias
        if memory.t == 0:
            memory.kept = torch.cat((k, v), dim=3).transpose(1, 2).flatten(2)
            return k, v, bias
        first_k, first_v = self.heads(memory.kept).chunk(2, dim=3)
        place = torch.arange(bias.shape[1], device=bias.device)
        far = (place[:, None] - place).abs() > self.window
        near = bias.masked_fill(far, -math.inf)
        if not self.shares:
            return k, v, near
        bias = torch.cat((bias, near), dim=2)
        return torch.cat((first_k, k), dim=2), torch.cat((first_v, v), dim=2), bias


class SharedMemory(CoTFormer):
    config_class = SharedConfig
    attention = SharedAttention

    def numbers_kept(self, length):
        """The numbers for each token of a text of this length that a reader has to keep."""
        config = self.config
        own = min(config.window, length) * (config.loops - 1)  # tokens of which later loops keep
        return 2 * config.n_embd * config.n_core * (length + own) / length
