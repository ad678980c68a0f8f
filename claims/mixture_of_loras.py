"""
Improving Recursive Transformers with Mixture of LoRAs
(Nouriborji, Rohanian, Rohanian 2025, arXiv 2512.12880)

The model is papers/mixture_of_loras.py: one layer that is looped six times, whose MLP a router
changes for each token. What sharing loses is memory, so the questions are facts (facts.py), more
than the loop can hold. Is the loss lower than without experts? Other ways to spend as many weights
are a wider loop, and the same low-rank matrices, one for each loop instead of each token. A stack
of six narrower layers has a third more weights; theirs, the plain encoder, a quarter more. And are
as many answers right if the experts are merged into one?

    python -m claims.mixture_of_loras          4 to 7 minutes a seed on one core
"""

import copy

import numpy as np
import torch

from claims.experiment import Claim, run_claim
from claims.parts import lower, untested
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="mixture_of_loras",
    title="Improving Recursive Transformers with Mixture of LoRAs (Nouriborji et al. 2025)",
    arxiv="2512.12880",
    changes="a router adds low-rank matrices to the shared MLP, others for each token",
    claim="low-rank experts that a router chooses for each token make a loop better than fixed "
    "ones do, than a wider loop of as many weights (ours), and than a larger stack; merged into "
    "one they keep the accuracy",
    theirs="GLUE 88.7 with 120M weights, a stack of 149M 88.5; the mean of the experts keeps most "
    "of it (from a description of the paper)",
    falls="the loss is not 0.1 nats below that of the plain loop, of a wider one, of LoRA for each "
    "loop, or of 6 layers. That they can be merged cannot fall here: merged they are the plain "
    "loop, and it is too small for the facts",
    tried="seed 0, a rate of 0.005: experts 0.86 nats, LoRA for each loop 0.68, a wider loop 0.52, "
    "6 layers 0.31, the plain loop 1.83; merged the experts know 0.07 of the facts. Two rates for "
    "each model on the reported seeds, chosen on val",
    note="facts by heart from scratch, where theirs is an encoder of texts that is distilled from "
    "a larger model, with experts in some of its groups of layers; four experts of rank 6, two for "
    "each token. Their own ablation, experts behind the MLP instead of in its weights, is not "
    "here. By what we know theirs merges with equal shares, or with shares by use; here it is the "
    "mean of the products of their factors, without further training",
)
STEPS, RATES = 2500, (2.5e-3, 5e-3)
ALL = dict(task="facts", position="window", reach=3, batch=256, weight_decay=0.0, n_embd=24)
ALL |= dict(loops=6, sampler="fixed", curriculum=False, norm="pre", injection="none")
ALL |= dict(steps=STEPS, eval_every=STEPS)
LORAS, PLAIN, WIDER = "4 experts", "plain", "plain, wider"
EACH_LOOP, STACK = "LoRA for each loop", "6 layers"
MODELS = {
    LORAS: dict(model="mixture_of_loras", experts=4, chosen=2, rank=6),
    PLAIN: dict(),
    WIDER: dict(n_embd=32),
    EACH_LOOP: dict(model="mixture_of_loras", by_loop=True, experts=6, rank=4),
    STACK: dict(tied=False, n_embd=16),
}
NATS = 0.1
LEARNED, SOME = 0.4, 0.1  # facts that the experts, and a control, have to know
MERGED, WITHOUT = "merged", "experts left out"


def measure(lab):
    for name, flags in MODELS.items():
        model, task, rate = lab.at_best_rate(name, RATES, **ALL | flags)
        loss, right = lab.loss(model, task, "test")
        weights = sum(each.numel() for each in model.parameters())
        yield dict(model=name, loss=loss, right=right, weights=weights, rate=rate)
        if name == LORAS:
            for name, changed in ((MERGED, merged(model)), (WITHOUT, without(model))):
                loss, right = lab.loss(changed, task, "test")
                yield dict(model=name, loss=loss, right=right)


def merged(model):
    model = copy.deepcopy(model)
    model.merge()
    return model


@torch.no_grad()
def without(model):
    """What is left if the router adds nothing."""
    model = copy.deepcopy(model)
    for block in model.core:
        block.mlp.first.up.zero_()
        block.mlp.last.up.zero_()
    return model


def judge(table):
    loss = {name: table.values("loss", model=name) for name in MODELS}
    right = {name: table.values("right", model=name) for name in MODELS}
    parts = []
    for name in (PLAIN, WIDER, EACH_LOOP, STACK):
        learned = {LORAS: (right[LORAS], LEARNED), name: (right[name], SOME)}
        parts.append(lower(f"lower than {name}", loss[LORAS], loss[name], NATS, learned=learned))
    parts.append(untested("merged, as many right", "facts that fit into the plain loop"))
    ours = table.tell(["model"], dict(loss=3, right=2, weights=0))
    return f"nats a fact after {STEPS} steps (right; weights): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 3.5), layout="constrained")
    labels = []
    for place, (name, color) in enumerate(zip(MODELS, COLORS)):
        losses, weights = (table.values(each, model=name) for each in ("loss", "weights"))
        axis.plot(losses, [place] * len(losses), "o", color=color)
        axis.plot(np.median(losses), place, "|", ms=24, color=color)
        labels.append(f"{name} ({weights[0]:,} weights)")
    axis.axvline(0, color="0.8", lw=1)
    axis.set(xlabel="loss (nats a fact)")
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
