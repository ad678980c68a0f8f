"""
Drop-in twins of parts of looped.py. They compute the same numbers, up to rounding, in less time or
memory: let `speed_up` return its model as it is, and only that changes. `analyze.py bench` shows
the difference, and tests/test_fast.py compares the results.
"""

from types import MethodType

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

from looped import Attention, LoopedGPT


class RMSNormByHand(torch.autograd.Function):
    """
    weight * x / sqrt(mean(x^2)): PyTorch's is one kernel on a GPU, but a chain of ten on a CPU (5 %
    of a step).
    """

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
        # the part along x goes: a longer x has the same result
        along = (product @ weight)[..., None] / x.shape[-1]
        return (
            (gradient * weight).addcmul_(unit, along, value=-1).mul_(scale),
            product.flatten(0, -2).sum(0),
            None,
        )


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


def fast_think(self, tokens, loops=None, h=None):
    """
    LoopedGPT.think, in which a sequence that is done leaves the batch, and loops without a gradient
    keep nothing for the backward pass: a batch costs the sum of its counts, not its size times the
    largest.
    """
    start, e, positions = self.begin(tokens)
    h = start if h is None else h
    loops = torch.as_tensor(self.config.loops if loops is None else loops).cpu().expand(len(h))
    loops, order = loops.sort(descending=True, stable=True)
    h = self.advance(h[order], e[order], range(int(loops[0])), loops, positions)
    return h[order.argsort()]  # back in the order of the tokens


def advance(self, h, e, span, loops, positions):
    """
    The loops t of a span, for sequences that are sorted by the loops (B,) they take in all, the
    most first.
    """
    done, k = [], self.config.backprop_loops
    for t in span:
        active = int((loops > t).sum())  # the first `active` sequences have a loop to go
        # the first `untracked` of these have more than k loops to go: no gradient here
        untracked = int((loops > t + k).sum()) if k else 0
        if active < len(h):
            done = [h[active:], *done]
            h, e = h[:active], e[:active]
        parts = []
        if untracked:
            with torch.no_grad():
                parts.append(self.loop(h[:untracked], e[:untracked], t, positions))
        if untracked < active:
            parts.append(self.loop(h[untracked:], e[untracked:], t, positions))
        h = torch.cat(parts) if untracked else parts[0]
    return torch.cat((h, *done)) if done else h


def has_usual_loop(cls):
    """Does a model go from state to state as looped.py does, whatever one loop is?"""
    usual = [getattr(cls, name, None) is getattr(LoopedGPT, name) for name in ("think", "states")]
    return all(usual)


def speed_up(model):
    """
    Give a model its twins where it has the plain parts of looped.py; the weights stay. Returns the
    model.
    """
    twins = {nn.RMSNorm: FastRMSNorm, Attention: FastAttention}
    for module in model.modules():
        if type(module) in twins:
            module.__class__ = twins[type(module)]
    if has_usual_loop(type(model)):
        model.think, model.advance = MethodType(fast_think, model), MethodType(advance, model)
    return model


def compile_loop(model):
    """
    Compile one pass of the loop, and each layer around it. The loop itself stays Python, so that
    another loop count, or fewer rows in the last loops, run the same machine code (as in Huginn
    2025 and Parcae 2026). A `loop` that makes use of t, a subclass's say, stays right: it may be
    compiled once for each t.
    """
    if not all(hasattr(model, part) for part in ("prelude", "core", "coda", "loop")):
        raise ValueError("--compile works for models with the parts of looped.py")
    for block in (*model.prelude, *model.coda, *(() if model.config.tied else model.core)):
        block.compile(dynamic=True)
    if model.config.tied:
        eager = type(model).loop
        compiled = torch.compile(eager, dynamic=True)

        def loop(self, h, e, t, positions):
            one_row = len(h) == 1  # would be compiled apart
            return (eager if one_row else compiled)(self, h, e, t, positions)

        model.loop = MethodType(loop, model)  # a copy of the model gets the method of the copy


def checkpoint_loops(model, k):
    """
    Keep one state every k loops for the backward pass and compute those between a second time (Chen
    2016).
    """

    def advance_in_pieces(self, h, e, span, loops, positions):
        for first in range(0, len(span), k):
            piece = span[first : first + k]
            h = checkpoint(advance, self, h, e, piece, loops, positions, use_reentrant=False)
        return h

    if not has_usual_loop(type(model)):
        raise ValueError("--checkpoint_loops works for models that think as looped.py does")
    model.think, model.advance = MethodType(fast_think, model), MethodType(advance_in_pieces, model)
