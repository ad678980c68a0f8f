"""
Improving Recursive Transformers with Mixture of LoRAs
(Nouriborji, Rohanian, Rohanian 2025, arXiv 2512.12880)

A loop has one MLP for all tokens and all depths. Here a router changes that MLP for each token:
there are several low-rank matrices, the experts, and the router picks the likeliest few, anew in
each loop. Matrix W of the shared MLP is, for a token x,

    W + alpha / r * sum over the chosen i of p_i(x) B_i A_i

B_i A_i has rank r and starts at zero, p is the softmax of the router over the chosen. So the MLP
stays shared, and an expert costs little. In papers/relaxed_recursive.py the number of the loop
decides which low-rank matrix is added (`by_loop` does so here, as a control), and in
papers/mixture_of_experts.py an expert is a part of the MLP, and nothing is shared by all. After
training `merge` puts the mean of all experts into W, and the router is not asked any more.

What is different here: the MLP of the core, a term of the loss that keeps the experts equally busy
(Fedus et al. 2022, arXiv 2101.03961), and `merge`. We have not seen the authors' code; the formula
is that of a description of the paper, and so are two experts for each token; in another description
the outputs of an MLP for each expert are added up, which is the same for one expert alone. alpha /
r is 2 and there are four experts, as in a configuration that the authors have published (there a
token has one expert, and the term of the loss weighs 0.1, ours 0.01). It is ours that p is that of
all experts if only one is chosen (else nothing would teach the router), and how `merge` averages:
the products B_i A_i. (Theirs is an encoder with GeGLU, distilled from a larger one.)

    python train.py --task multihop --model mixture_of_loras --sampler fixed --loops 6
    python -m claims.mixture_of_loras
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config, LoopedGPT, init_weights

SCALE = 2.0  # alpha / r


@dataclass
class LorasConfig(Config):
    experts: int = 4  # low-rank matrices to choose from
    chosen: int = 2  # of them for each token
    rank: int = 8  # r
    balance: float = 0.01  # weight of the loss that keeps them equally busy
    by_loop: bool = False  # no router: all tokens have expert 0 in loop 0, expert 1 in loop 1, ..

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.chosen <= self.experts or self.rank < 1:
            raise ValueError("rank and chosen must be at least 1, and chosen at most experts")


class Adapted(nn.Module):
    """A matrix W that all tokens share, and B_i A_i for each expert."""

    def __init__(self, linear, config):
        super().__init__()
        (rows, columns), E, r = linear.weight.shape, config.experts, config.rank
        self.shared = linear
        self.up = nn.Parameter(torch.zeros(E, rows, r))  # B
        self.down = nn.Parameter(torch.randn(E, r, columns) * columns**-0.5)  # A

    def forward(self, x, p):
        """x (B, T, columns), and how much each expert counts, p (B, T, E): 0 if not chosen."""
        low = torch.einsum("btc, erc -> bter", x, self.down) * p[..., None]
        return self.shared(x) + SCALE * torch.einsum("bter, eor -> bto", low, self.up)


class Loras(nn.Module):
    """The MLP of a block, with experts."""

    def __init__(self, mlp, config):
        super().__init__()
        self.config, self.t = config, 0
        if not config.by_loop:
            self.router = nn.Linear(config.n_embd, config.experts, bias=False)
        self.first, self.last = Adapted(mlp[0], config), Adapted(mlp[2], config)
        self.imbalance = []  # of each call since the last loss

    def forward(self, x):
        p = self.of_loop(x) if self.config.by_loop else self.of_token(x)
        return self.last(F.gelu(self.first(x, p)), p)

    def of_loop(self, x):
        """How much each expert counts, (B, T, experts): only that of this loop, or the last one."""
        p = x.new_zeros(*x.shape[:2], self.config.experts)
        p[..., min(self.t, self.config.experts - 1)] = 1
        return p

    def of_token(self, x):
        """The same, as the router says."""
        likely = self.router(x).softmax(-1)
        best = likely.topk(self.config.chosen).indices
        chosen = torch.zeros_like(likely).scatter(-1, best, 1.0)
        if torch.is_grad_enabled():
            busy = chosen.mean((0, 1)) / self.config.chosen
            imbalance = self.config.experts * (busy * likely.mean((0, 1))).sum()
            self.imbalance.append(imbalance)  # 1 if all are equally busy
        p = likely * chosen
        return p / p.sum(-1, keepdim=True) if self.config.chosen > 1 else p


class LorasGPT(LoopedGPT):
    config_class = LorasConfig

    def __init__(self, config):
        super().__init__(config)
        for block in self.core:
            block.mlp = Loras(block.mlp, config)
            if not config.by_loop:
                block.mlp.router.apply(init_weights)

    def core_of(self, t):
        for block in self.core:
            block.mlp.t = t
        return super().core_of(t)

    def loss(self, tokens, targets, loops=None):
        layers = [module for module in self.modules() if isinstance(module, Loras)]
        for layer in layers:
            layer.imbalance.clear()
        loss, prediction = super().loss(tokens, targets, loops)
        terms = [term for layer in layers for term in layer.imbalance]
        if terms:  # there are none where no gradient is wanted, nor by_loop
            loss = loss + self.config.balance * sum(terms) / len(terms)
        return loss, prediction

    @torch.no_grad()
    def merge(self):
        """From now on one MLP for all tokens: W and the mean of the experts."""
        for part in self.modules():
            if isinstance(part, Adapted):
                part.shared.weight += SCALE * (part.up @ part.down).mean(0)
                part.up.zero_()
