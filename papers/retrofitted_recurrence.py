"""
Teaching Pretrained Language Models to Think Deeper with Retrofitted Recurrence
(McLeish et al. 2025, arXiv 2511.07384)

Somebody has trained a stack of layers, and it should think longer. Its first layers become the
prelude, its last ones the core and the coda; those between are dropped, and the core is looped. The
result is smaller than the stack and, looped, deeper. Many loops at once would ruin what the layers
know, and cost much. So training begins with few loops and asks for more as it goes on: a curriculum
of loop counts.

    stack of 6       1 2 3 4 5 6
    n_prelude = 1, n_core = 2, n_coda = 1:        1 (4 5) (4 5) .. 6

This is the other way to make a loop from a stack than papers/relaxed_recursive.py, which keeps the
depth and makes one layer of several.

What is different here: `convert` takes over layers of a stack, `loss` shortens the loop counts that
are drawn, and the embedding is normed before the prelude, as in the stack, and not behind it. Start
(noise) and injection (concat) are those of Huginn, as in the paper, but in the authors' code, read
in a copy (github.com/LoopedLMs/retrofitting-recurrence), the noise is a hundred times smaller and W
starts at random. There the mean of the counts grows, in a straight line, too; here the counts that
were drawn are shortened.

    python train.py --no-tied --sampler fixed --loops 6 --norm pre --injection none --out runs/stack
    python train.py --model retrofitted_recurrence --start runs/stack --sampler poisson --loops 4
    python -m claims.retrofitted_recurrence
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

from looped import Config, LoopedGPT
from support.files import load_tensors


@dataclass
class RetrofittedConfig(Config):
    n_prelude: int = 1  # the first layers of the stack
    n_core: int = 2  # the layers before those of the coda
    n_coda: int = 1  # the last layers of the stack
    injection: Literal["none", "add", "concat"] = "concat"
    norm: Literal["pre", "post", "sandwich"] = "pre"
    state_init: Literal["embed", "zeros", "noise"] = "noise"
    start: str = ""  # the folder of an untied run with injection none; keep it
    ramp: int = 500  # steps until the loop counts are as drawn; 0: from the start


class RetrofittedGPT(LoopedGPT):
    config_class = RetrofittedConfig

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))  # saved, as the weights
        if config.start:
            self.convert(self.stack_of(config.start))

    def begin(self, tokens):
        """As in looped.py, with the norm in front of the prelude."""
        x = self.prelude_norm(self.embed(tokens))
        positions = self.positions(x)
        for block in self.prelude:
            x = block(x, positions)
        starts = dict(embed=x, zeros=torch.zeros_like(x), noise=torch.randn_like(x))
        return starts[self.config.state_init], x, positions

    def loss(self, tokens, targets, loops=None):
        loops = torch.as_tensor(self.config.loops if loops is None else loops)
        if self.training:
            self.calls += 1
            loops = self.shortened(loops)
        return super().loss(tokens, targets, loops)

    def shortened(self, loops):
        """The counts (B,) in step `calls`, from one loop up to what was drawn."""
        if self.config.ramp == 0:
            return loops
        share = min(1.0, self.calls.item() / self.config.ramp)
        return (loops * share).ceil().long().clamp(min=1)

    def stack_of(self, folder):
        """The trained stack of a run folder."""
        run = json.loads(Path(folder, "config.json").read_text())
        if run.get("tied", True) or (run["injection"], run["norm"]) != ("none", self.config.norm):
            raise ValueError(f"--start {folder} needs --no-tied, --injection none, and our --norm")
        settings = {field.name: getattr(self.config, field.name) for field in fields(Config)}
        settings |= dict(n_prelude=0, n_core=run["n_core"], n_coda=0, loops=run["loops"])
        settings |= dict(tied=False, injection="none", state_init="embed")
        stack = LoopedGPT(Config(**settings))
        checkpoint = load_tensors(Path(folder, "checkpoint.pt"))
        try:
            stack.load_state_dict(checkpoint["ema"] or checkpoint["model"])
        except RuntimeError:
            raise ValueError(f"--start {folder} has other sizes than this run") from None
        return stack

    @torch.no_grad()
    def convert(self, stack):
        """Take the embedding, the norms, the positions and layers of a stack."""
        parts = (self.prelude, self.core, self.coda)
        first, middle, last = (len(part) for part in parts)
        n = len(stack.core)
        if first + middle + last > n:
            raise ValueError(f"a stack of {n} layers is too short for {first} + {middle} + {last}")
        weights = stack.state_dict().items()
        around = {name: value for name, value in weights if not name.startswith("core.")}
        self.load_state_dict(around, strict=False)
        taken = [*range(first), *range(n - last - middle, n)]
        for block, layer in zip((block for part in parts for block in part), taken):
            block.load_state_dict(stack.core[layer].state_dict())
