"""
Relaxed Recursive Transformers: Effective Parameter Sharing with Layer-wise LoRA
(Bae et al. 2025, arXiv 2410.20672)

Somebody has trained a stack of different layers, and it is too large. Can it become a loop? Let
each shared layer be the mean of the layers that it replaces ("average"), or one of them
("stepwise"), and train on for a little. What is lost is that the loops differ. A low-rank matrix
for each loop gives some of it back: matrix W of the shared layer is, in loop t,

    W + B_t A_t        of rank r; it starts as near to the stack's own matrix as rank r can come

What is different here: `core_of(t)` adds a matrix of low rank for loop t to each matrix of the
shared layers, and `convert` takes over the weights of a stack.

    python train.py --no-tied --sampler fixed --loops 3 --n_core 2 --norm pre --out runs/stack
    python train.py --model relaxed_recursive --rank 4 --start runs/stack \\
                    --sampler fixed --loops 3 --n_core 2 --norm pre
    python -m claims.relaxed_recursive
"""

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.func import functional_call

from looped import Config, LoopedGPT
from support.files import load_tensors

# the matrices of a block, and the norm in front of each
MATRICES = {
    "attention.qkv.weight": "before_attention.weight",
    "attention.out.weight": None,
    "mlp.0.weight": "before_mlp.weight",
    "mlp.2.weight": None,
}


@dataclass
class RelaxedConfig(Config):
    rank: int = 4  # of what each loop adds to each matrix
    start: str = ""  # the folder of an untied run with as many layers; keep it
    shared: Literal["average", "stepwise"] = "average"  # what the shared layers start as

    def __post_init__(self):
        super().__post_init__()
        if not self.tied:
            raise ValueError("relaxed_recursive shares its layers: tied=False has no meaning here")


class RelaxedGPT(LoopedGPT):
    config_class = RelaxedConfig

    def __init__(self, config):
        super().__init__(config)
        self.up, self.down = nn.ParameterList(), nn.ParameterList()  # B and A of each of MATRICES
        for name in MATRICES if config.rank else ():
            rows, columns = self.core[0].get_parameter(name).shape
            shape = (config.loops, config.n_core)  # each loop and layer has its own
            self.up.append(torch.zeros(*shape, rows, config.rank))
            self.down.append(torch.randn(*shape, config.rank, columns) * columns**-0.5)
        if config.start:
            self.convert(self.stack_of(config.start))

    def stack_of(self, folder):
        """The trained stack of a run folder. It has the settings of this model, but is not tied."""
        shared = {field.name: getattr(self.config, field.name) for field in fields(Config)}
        stack = LoopedGPT(Config(**shared | dict(tied=False)))
        checkpoint = load_tensors(Path(folder, "checkpoint.pt"))
        try:
            stack.load_state_dict(checkpoint["ema"] or checkpoint["model"])
        except RuntimeError:
            raise ValueError(
                f"--start {folder} needs an untied run with the settings of this one"
            ) from None
        return stack

    def core_of(self, t):
        """The shared layers as loop t has them; loops beyond those of training: as the last."""
        t = min(t, self.config.loops - 1)
        layers = []
        for i, block in enumerate(self.core):
            weights = {
                name: block.get_parameter(name) + up[t, i] @ down[t, i]
                for name, up, down in zip(MATRICES, self.up, self.down)
            }
            layers.append(partial(call_with, block, weights))
        return layers

    @torch.no_grad()
    def convert(self, stack):
        """Take the weights of a stack: its layer t * n_core + i becomes layer i of loop t."""
        n, loops = self.config.n_core, self.config.loops
        if len(stack.core) != n * loops or {stack.config.norm, self.config.norm} != {"pre"}:
            raise ValueError(
                f"--start needs an untied run of {n * loops} layers, and --norm pre for both"
            )
        weights = stack.state_dict().items()
        around = {name: value for name, value in weights if not name.startswith("core.")}
        self.load_state_dict(around, strict=False)
        for block in self.core:
            block.before_attention.weight.fill_(1)  # each layer's own gains move into the
            block.before_mlp.weight.fill_(1)  # matrix behind them
        steps = torch.linspace(0, n * loops - 1, n).round().long().tolist()  # first, .., last
        for m, (name, norm) in enumerate(MATRICES.items()):
            layers = [
                block.get_parameter(name) * (block.get_parameter(norm) if norm else 1)
                for block in stack.core
            ]
            for i, block in enumerate(self.core):
                replaced = torch.stack(layers[i::n])  # (loops, rows, columns)
                average = self.config.shared == "average"
                shared = replaced.mean(0) if average else layers[steps[i]]
                block.get_parameter(name).copy_(shared)
                if self.config.rank:
                    u, s, v = torch.linalg.svd(replaced - shared, full_matrices=False)
                    r = min(self.config.rank, s.shape[-1])
                    self.up[m][:, i, :, :r] = u[..., :r] * s[:, None, :r]
                    self.down[m][:, i, :r] = v[:, :r]


def call_with(block, weights, h, positions):
    """A block with other weights in place of some of its own."""
    return functional_call(block, weights, (h, positions))
