"""
Less is More: Recursive Reasoning with Tiny Networks (Jolicoeur-Martineau 2025, arXiv 2510.04871),
and the Hierarchical Reasoning Model before it (HRM; Wang et al. 2025, arXiv 2506.21734)

A tiny net that loops solves Sudokus that no deep stack of layers solves. Its state has two parts:
y, the answer so far, and z, the thought about it. One *recursion* is, with the same f,

    n times  z <- f(x + y + z),    then  y <- f(y + z)

After a few recursions, a *segment*, it is told the right answer. Only the last recursion has a
gradient. The next segment goes on from the state that this one left: that is *deep supervision*, of
a net that learns to improve any answer. HRM cut the gradient to one step.

What is different here: a loop is one recursion, the state is twice as wide, and the loss is the
mean over the segments. (The paper takes one step of the optimizer for each segment, and its y and z
start as two fixed vectors, where ours both start as x.)

    python train.py --task sudoku --model tiny_recursive_model --loops 6 --segments 3
    python -m claims.tiny_recursive_model
"""

from dataclasses import dataclass

import torch

from looped import Config, LoopedGPT


@dataclass
class RecursiveConfig(Config):
    inner: int = 2  # n, updates of z before one of y (theirs: 6); 0: there is no z
    segments: int = 3  # which share the loops, and each ends with a loss (theirs: 16)
    backprop_loops: int = 1  # gradient through the last k recursions of a segment only
    one_step: bool = False  # gradient through the last update of z and that of y only (HRM 2025)

    def __post_init__(self):
        self.loss = "final"  # of each segment
        super().__post_init__()
        if self.segments < 1:
            raise ValueError(f"segments={self.segments} must be at least 1")
        if not self.tied:
            raise ValueError("a recursion shares its layers: tied=False has no meaning here")


class TinyRecursiveModel(LoopedGPT):
    """The state is [y; z], (B, T, 2 C)."""

    config_class = RecursiveConfig

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        return torch.cat((h, h), dim=-1), e, positions

    def loop(self, h, e, t, positions):
        y, z = h.chunk(2, dim=-1)
        if self.config.inner == 0:
            # y + e, not y + z: the start z = e has no gradient once the state is cut off
            return torch.cat((super().loop(y, e, t, positions), z), dim=-1)
        for i in range(self.config.inner):
            is_last = i == self.config.inner - 1
            learns = torch.is_grad_enabled() and (is_last or not self.config.one_step)
            with torch.set_grad_enabled(learns):
                z = super().loop(y + z, e, t, positions)
        y = y + z
        for block in self.core_of(t):
            y = block(y, positions)
        return torch.cat((y, z), dim=-1)

    def readout(self, h):
        y, _ = h.chunk(2, dim=-1)
        return super().readout(y)

    def loss(self, tokens, targets, loops=None):
        segments = self.config.segments
        loops = torch.as_tensor(self.config.loops if loops is None else loops).expand(len(tokens))
        loops_of_segment = (loops + segments - 1) // segments
        h, losses = None, []
        for _ in range(segments):
            h = self.think(tokens, loops_of_segment, h)
            losses_after_segment, prediction = self.token_losses(h, targets)
            losses.append(losses_after_segment)
            h = h.detach()
        return torch.stack(losses).mean(), prediction
