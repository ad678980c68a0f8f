"""
Mixture-of-Recursions: Dynamic Recursive Depths for Token-Level Computation
(Bae et al. 2025, arXiv 2507.10524)

Not every token needs every loop. A router, one linear map, picks the tokens that loop again; the
others keep their state. *Expert choice*: in loop t the tokens with the k_t best scores of those
that were in loop t - 1, where k_t falls from all to few. A later token can push out an earlier one,
which is a leak from the future. The cure is a loss that teaches each score to predict, from its own
token alone, whether it will be chosen; at test a token goes on if its score is above a half
("threshold"). *Token choice*: each token chooses its depth at the start, and a loss balances the
depths.

The tokens that loop attend to one another alone ("recursion-wise" keys). With expert choice a part
of the result, alpha times the score, is added to their state, h + alpha g f(h). With token choice
the result replaces it, but for a token's last loop, which adds the score times its result to the
state before the first loop.

What is different here: only the chosen tokens take the result of a loop, and only they are seen. (f
is computed for all tokens, to keep the code short; the loops that would be needed are counted. A
second variant of the paper, in which all tokens are seen with the keys and values of their first
loop, is not built.)

    python train.py --task addition --model mixture_of_recursions --sampler fixed --loops 7
    python -m claims.mixture_of_recursions
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config, LoopedGPT, init_weights


@dataclass
class RecursionsConfig(Config):
    route: Literal["topk", "threshold", "random", "depth"] = "topk"  # depth is token choice
    alpha: float = 0.1  # expert choice: the largest part of the result that is added
    router_loss: float = 0.001  # weight of the router's own loss (theirs)


class Recursions(LoopedGPT):
    """The state has two more channels: the loops that a token took, and the router's loss."""

    config_class = RecursionsConfig

    def __init__(self, config):
        super().__init__(config)
        self.router = nn.Linear(config.n_embd, config.loops)  # a score for each loop
        self.router.apply(init_weights)

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        return F.pad(h, (0, 2)), e, positions

    def proper_state(self, h):
        return h[..., :-2]

    def loop(self, h, e, t, positions):
        h, taken, router_loss = h[..., :-2], h[..., -2], h[..., -1]
        if self.config.route == "depth":
            chosen, is_last, score, loss = self.token_choice(e, t)
        else:
            chosen, score, loss = self.expert_choice(h, t, taken)
        after = super().loop(h, e, t, self.seen(chosen, positions))
        if self.config.route == "depth":
            after = torch.where(is_last[..., None], e + score[..., None] * after, after)
        else:
            after = h + self.config.alpha * score[..., None] * after
        h = torch.where(chosen[..., None], after, h)
        counters = torch.stack((taken + chosen, router_loss + loss), dim=-1)
        return torch.cat((h, counters), dim=-1)

    def seen(self, chosen, positions):
        """The positions without the tokens that do not loop; `chosen` is (B, T)."""
        T = chosen.shape[1]
        itself = torch.eye(T, dtype=torch.bool, device=chosen.device)  # else nothing may be left
        bias = positions.bias
        if bias is None:
            bias = torch.zeros(T, T, device=chosen.device)
            if self.config.causal:
                bias = bias.masked_fill(torch.ones_like(itself).triu(1), -math.inf)
        hidden = ~(chosen[:, None, None, :] | itself)  # (B, 1, T, T)
        return positions._replace(bias=bias.masked_fill(hidden, -math.inf))  # (B, H or 1, T, T)

    def expert_choice(self, h, t, taken):
        """Which tokens loop, their scores, and how little these said so; (B, T) each."""
        loops, T = self.config.loops, h.shape[1]
        waiting = taken == t  # a token that was left out once does not come back
        logit = self.router(h)[..., min(t, loops - 1)]
        order = torch.randn_like(logit) if self.config.route == "random" else logit  # a control
        k = max(1, math.ceil(T * (loops - t) / loops))
        rank = order.masked_fill(~waiting, -math.inf).argsort(1, descending=True).argsort(1)
        picked = logit > 0 if self.config.route == "threshold" else rank < k  # rank 0 is the best
        chosen = waiting & picked
        loss = F.binary_cross_entropy_with_logits(logit, chosen.to(logit.dtype), reduction="none")
        return chosen, logit.sigmoid(), loss * waiting

    def token_choice(self, e, t):
        """Which tokens loop, which for the last time, the score of their depth, and a loss."""
        loops = self.config.loops
        probability = self.router(e).softmax(-1)  # (B, T, loops), of 1, 2, .. loops
        likeliest, depth = probability.max(-1)
        load = F.one_hot(depth, loops).to(e.dtype).mean((0, 1))
        balance = loops * (load * probability.mean((0, 1))).sum()  # 1 if balanced (Fedus 2022)
        loss = balance if t == 0 else torch.zeros_like(balance)
        return depth >= t, depth == t, likeliest, loss

    def token_losses(self, h, targets):
        losses, prediction = super().token_losses(h, targets)
        return losses + self.config.router_loss * h[..., -1].mean(), prediction

    def readout(self, h):
        return super().readout(self.proper_state(h))
