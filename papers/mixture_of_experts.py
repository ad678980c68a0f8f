"""
Experts in the loop (OpenMythos, Gomez 2026), with the routing of Switch Transformers
(Fedus et al. 2022, arXiv 2101.03961)

A looped layer has few parameters. A mixture of experts puts several MLPs into the layer, and a
router sends each token to one of them, anew in each loop: more parameters for the same compute. The
layer is the same in every loop; what it does to a token need not be.

What is different here: the MLP of each block (`new_block`), and a term of the loss that keeps the
experts equally busy.

    python train.py --task multihop --model mixture_of_experts --experts 4
    python -m claims.mixture_of_experts
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config, LoopedGPT


@dataclass
class ExpertsConfig(Config):
    experts: int = 4  # MLPs to choose from
    balance: float = 0.01  # weight of the loss that keeps them equally busy
    hidden: int = 4  # width of an MLP, in multiples of n_embd


class Experts(nn.Module):
    """
    Each token goes to its likeliest expert. The output is multiplied by how likely that expert is;
    otherwise the router would have no gradient.
    """

    def __init__(self, config):
        super().__init__()
        C, hidden = config.n_embd, config.hidden * config.n_embd
        self.router = nn.Linear(C, config.experts, bias=False)
        self.each = nn.ModuleList(
            nn.Sequential(
                nn.Linear(C, hidden, bias=False), nn.GELU(), nn.Linear(hidden, C, bias=False)
            )
            for _ in range(config.experts)
        )
        self.imbalance = []  # of each call since the last loss
        self.chosen = None  # by the last call, (B, T)

    def forward(self, x):
        likely = self.router(x).softmax(-1)  # (B, T, experts)
        weight, self.chosen = likely.max(-1)
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.each):
            here = self.chosen == i
            y[here] = (weight[here][:, None] * expert(x[here])).to(y.dtype)
        if torch.is_grad_enabled():
            busy = F.one_hot(self.chosen, len(self.each)).float().mean((0, 1))
            imbalance = len(self.each) * (busy * likely.mean((0, 1))).sum()
            self.imbalance.append(imbalance)  # 1 if all are equally busy
        return y


class Balanced:
    """For a model some of whose layers note in each call how unequally their experts are busy."""

    def loss(self, tokens, targets, loops=None):
        layers = [module for module in self.modules() if hasattr(module, "imbalance")]
        for layer in layers:
            layer.imbalance.clear()
        loss, prediction = super().loss(tokens, targets, loops)
        terms = [term for layer in layers for term in layer.imbalance]
        if terms:  # there are none where no gradient is wanted
            loss = loss + self.config.balance * sum(terms) / len(terms)
        return loss, prediction


class ExpertsGPT(Balanced, LoopedGPT):
    config_class = ExpertsConfig

    def new_block(self):
        block = super().new_block()
        block.mlp = Experts(self.config)
        return block
