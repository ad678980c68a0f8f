"""
Drop-in twins of parts of looped.py. They compute the same numbers, up to rounding, in less time or memory: delete this
file and only that changes. `analyze.py bench` shows with and without; tests/test_fast.py compares them.
"""

from types import MethodType

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

from attention import Attention


class RMSNormByHand(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2)): PyTorch's is one kernel on a GPU, but a chain of ten on a CPU (5 % of a step)."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = scale.add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, weight, scale = ctx.saved_tensors
        unit = x * scale
        product = gradient * unit
        along = (product @ weight)[..., None] / x.shape[-1]  # the part along x goes: a longer x has the same result
        return (gradient * weight).addcmul_(unit, along, value=-1).mul_(scale), product.flatten(0, -2).sum(0), None


class FastRMSNorm(nn.RMSNorm):
    def forward(self, x):
        exact = x.dtype == self.weight.dtype in (torch.float32, torch.float64)
        if exact and x.device.type == "cpu" and not torch.compiler.is_compiling():
            return RMSNormByHand.apply(x, self.weight, self.eps)
        return super().forward(x)


class FastAttention(Attention):
    """PyTorch's attention leaves its fast path on a CPU when the bias learns (5 % of a step)."""

    def attend(self, q, k, v, bias):
        if bias is not None and bias.requires_grad and not q.is_cuda:
            return (q @ k.mT * k.shape[-1] ** -0.5 + bias).softmax(-1) @ v
        return super().attend(q, k, v, bias)


def speed_up(model):
    """Give the norms and attentions of a model their twins; the weights stay. Returns the model."""
    twins = {nn.RMSNorm: FastRMSNorm, Attention: FastAttention}
    for module in model.modules():
        if type(module) in twins:
            module.__class__ = twins[type(module)]
    return model


def compile_loop(model):
    """
    Compile one pass of the loop, and each layer around it. The loop itself stays Python, so that another loop count, or
    fewer rows in the last loops, run the same machine code (as in Huginn 2025 and Parcae 2026). A `loop` that makes use
    of t, a subclass's say, stays right: it may be compiled once for each t.
    """
    for block in (*model.prelude, *model.coda, *(() if model.config.tied else model.core)):
        block.compile(dynamic=True)
    if model.config.tied:
        eager = type(model).loop
        compiled = torch.compile(eager, dynamic=True)

        def loop(self, h, e, t, where, cache=None):
            alone = len(h) == 1 or cache is not None  # one row, or a growing cache, would be compiled apart
            return eager(self, h, e, t, where, cache) if alone else compiled(self, h, e, t, where)

        model.loop = MethodType(loop, model)  # a copy of the model gets the method of the copy


def checkpoint_loops(model, k):
    """Keep one state every k loops for the backward pass and compute those between a second time (Chen 2016)."""
    eager = type(model).advance

    def advance(self, h, e, loops, counts, where):
        for first in range(0, len(loops), k):
            h = checkpoint(eager, self, h, e, loops[first : first + k], counts, where, use_reentrant=False)
        return h

    model.advance = MethodType(advance, model)
