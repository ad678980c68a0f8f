"""
InfiLoop: Scaling to Tens of Thousands of Test-Time Iterations with Loop-Native Attention Residuals
(Li et al. 2026, arXiv 2610.11570)

A loop hands on its last result and forgets all others. If that result is worse than an earlier one,
nothing brings the earlier one back. InfiLoop hands on a mean of all results z_0 .. z_t, where z_0
is the start. Each has a weight e_t = exp(q . z_t / rms(z_t)), by a vector q that is learned, and
the weights of old results decay by a learned factor beta. No result has to be kept for that, only
the mean h and the sum of the weights D at each position:

    z = f(h),    D <- beta D + e,    h <- h + e / D (z - h)

So a loop is a step of its own size. A result with a small weight leaves the state nearly as it is,
and each position can hold an answer while others go on.

What is different here: the step, and the sum of the weights beside the state. (Theirs is a tiny
recursive model with such a mean in both of its nested loops; here it is in the one loop that there
is. beta starts at 0.55, as in a sketch of the authors. How their q starts is not known to us; here
it is 0, so that all weights are 1.)

    python train.py --task phop --model infiloop
    python -m claims.infiloop
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from looped import LoopedGPT

DECAY = 0.55  # beta at the start


class InfiLoop(LoopedGPT):
    """The state is [h; log D], (B, T, C + 1): a logarithm cannot overflow as weights can."""

    def __init__(self, config):
        super().__init__(config)
        self.query = nn.Parameter(torch.zeros(config.n_embd))  # q
        self.keep = nn.Parameter(torch.tensor([math.log(DECAY / (1 - DECAY))]))  # beta's logit

    def log_weight(self, z):
        """The logarithm of what a result (B, T, C) weighs at each position, (B, T, 1)."""
        return (F.rms_norm(z, z.shape[-1:]) @ self.query)[..., None]

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        return torch.cat((h, self.log_weight(h)), dim=-1), e, positions

    def loop(self, state, e, t, positions):
        h, log_sum = self.proper_state(state), state[..., -1:]
        z = super().loop(h, e, t, positions)
        log_weight = self.log_weight(z)
        log_sum = torch.logaddexp(F.logsigmoid(self.keep) + log_sum, log_weight)
        step = (log_weight - log_sum).exp()  # 0..1
        return torch.cat((h + step * (z - h), log_sum), dim=-1)

    def readout(self, state):
        return super().readout(self.proper_state(state))

    def proper_state(self, state):
        return state[..., :-1]
