"""
MoEUT: Mixture-of-Experts Universal Transformers (Csordás et al. 2024, arXiv 2405.16039)

A loop has few parameters for its compute, since its layers are used again and again. MoEUT gives
these layers many more parameters, of which a token uses a few, chosen anew in each loop:

    MLP          s = sigmoid(router(norm(x))), a number for each expert; all but the highest few
                 become 0. An expert is a group of hidden channels: W2 (s * relu(W1 x)).
    attention    Each head has several matrices for its values, and several for its output, which
                 are chosen and weighted in the same way. Queries and keys are as ever.

A sigmoid lets several experts count fully, where a softmax makes them compete. The loss rewards
that all are used: it contains minus the entropy of the softmax of the scores, averaged over tokens
and loops. Two layers take turns in the loop. Inside a block norms stand only in front of what a
sigmoid or a softmax reads, which are routers, queries and keys ("peri-layernorm"); values and MLP
read the state as it is.

What is different here: the block (`new_block`), and a term of the loss that keeps the experts busy.

What is not as in the paper: the embedding is normed, and norms are RMSNorm. The paper's averages
are of each text, which is long; ours are of a batch. If a head has one matrix for its values, the
paper's has no router for it. All experts are computed here, and most are multiplied by 0: the
result is that of the chosen alone, the time is not.

    python train.py --task facts --model mixture_of_experts --sampler fixed --loops 3
    python -m claims.mixture_of_experts
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from looped import Attention, Config, LoopedGPT, RMSNorm, rotate


@dataclass
class ExpertsConfig(Config):
    n_core: int = 2  # layers inside the loop, which take turns
    injection: Literal["none", "add", "concat"] = "none"
    norm: str = field(default="peri", init=False)  # the only one, so it is no flag
    experts: int = 16  # of the MLP
    chosen: int = 4  # of them for each token
    expert_width: int = 32  # hidden channels of one
    head_experts: int = 4  # for the values of a head, and as many for its output
    head_chosen: int = 2  # of them for each token
    balance: float = 0.01  # weight of the loss that keeps the experts of the MLP busy
    head_balance: float = 0.001  # and of that for those of the heads

    def __post_init__(self):
        super().__post_init__()
        for all_of_them, few in (("experts", "chosen"), ("head_experts", "head_chosen")):
            if not 1 <= getattr(self, few) <= getattr(self, all_of_them):
                raise ValueError(f"{few} must be at least 1, and at most {all_of_them}")


class Router(nn.Module):
    """How much each expert counts for a token, for each head separately."""

    def __init__(self, C, heads, experts, chosen, balance):
        super().__init__()
        self.heads, self.chosen, self.balance = heads, chosen, balance
        self.score = nn.Linear(C, heads * experts, bias=False)
        self.log_shares = None  # during a loss a list: of each call, (heads, experts)

    def forward(self, x):
        """x (B, T, C), normed. Returns (B, T, heads, experts): 0 for those that are not chosen."""
        scores = self.score(x).unflatten(-1, (self.heads, -1))
        if self.log_shares is not None:
            self.log_shares.append(log_mean(scores.log_softmax(-1).flatten(0, 1)))
        best = scores.topk(self.chosen).indices
        return torch.zeros_like(scores).scatter(-1, best, scores.gather(-1, best).sigmoid())

    def imbalance(self):
        """Minus the entropy of the shares: lowest, - log(experts), if all are equally busy."""
        log_share = log_mean(torch.stack(self.log_shares))
        return (log_share.exp() * log_share).sum(-1).mean()


def log_mean(logs):
    """log(mean(exp(logs))) over the first axis; no number becomes 0 on the way."""
    return logs.logsumexp(0) - math.log(len(logs))


class ExpertMLP(nn.Module):
    """sigma-MoE (Csordás et al. 2023)"""

    def __init__(self, config):
        super().__init__()
        C, hidden = config.n_embd, config.experts * config.expert_width
        self.router = Router(C, 1, config.experts, config.chosen, config.balance)
        self.up = nn.Linear(C, hidden, bias=False)
        self.down = nn.Linear(hidden, C, bias=False)

    def forward(self, x, normed):
        weight = self.router(normed)[:, :, 0, :, None]  # (B, T, experts, 1)
        hidden = F.relu(self.up(x)).unflatten(-1, (weight.shape[2], -1))
        return self.down((weight * hidden).flatten(2))


class ExpertAttention(Attention):
    """SwitchHead (Csordás et al. 2023)"""

    def __init__(self, config):
        super().__init__(config)
        C, H, E = config.n_embd, config.n_head, config.head_experts
        self.experts = E
        self.qk = nn.Linear(C, 2 * C, bias=False)
        self.value = nn.Linear(C, E * C, bias=False)
        self.out = nn.Linear(E * C, C, bias=False)
        self.value_router = Router(C, H, E, config.head_chosen, config.head_balance)
        self.out_router = Router(C, H, E, config.head_chosen, config.head_balance)
        del self.qkv

    def forward(self, x, normed, positions):
        H, E = self.n_head, self.experts
        q, k = self.qk(normed).unflatten(-1, (2, H, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if positions.rotation is not None:
            q, k = rotate(q, *positions.rotation), rotate(k, *positions.rotation)
        values = self.value(x).unflatten(-1, (H, E, -1))  # (B, T, H, E, D)
        v = (self.value_router(normed)[..., None] * values).sum(3)  # (B, T, H, D)
        y = self.attend(q, k, v.transpose(1, 2), positions.bias).transpose(1, 2)
        y = self.out_router(normed)[..., None] * y[:, :, :, None]  # (B, T, H, E, D)
        return self.out(y.flatten(2))


class ExpertBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention, self.mlp = ExpertAttention(config), ExpertMLP(config)
        self.before_attention, self.before_mlp = RMSNorm(config.n_embd), RMSNorm(config.n_embd)

    def forward(self, x, positions):
        x = x + self.attention(x, self.before_attention(x), positions)
        return x + self.mlp(x, self.before_mlp(x))

    @torch.no_grad()
    def start_smaller(self, layers):
        """The weights as in the authors' code: nothing norms the sum of so many layers."""
        for matrix in (p for p in self.parameters() if p.dim() == 2):
            matrix *= (2 / layers) ** 0.5
        self.attention.out.weight *= self.attention.experts**0.5  # not smaller for more experts


class MoEUT(LoopedGPT):
    config_class = ExpertsConfig

    def __init__(self, config):
        super().__init__(config)
        for block in self.core:
            block.start_smaller(layers=config.n_core * config.loops)

    def new_block(self):
        return ExpertBlock(self.config)

    def loss(self, tokens, targets, loops=None):
        if not torch.is_grad_enabled():  # a loss that is only looked at is that of the answers
            return super().loss(tokens, targets, loops)
        routers = [module for module in self.modules() if isinstance(module, Router)]
        for router in routers:
            router.log_shares = []
        loss, prediction = super().loss(tokens, targets, loops)
        for router in routers:
            loss = loss + router.balance * router.imbalance()
            router.log_shares = None
        return loss, prediction
