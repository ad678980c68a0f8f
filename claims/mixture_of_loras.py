"""
Improving Recursive Transformers with Mixture of LoRAs
(Nouriborji, Rohanian, Rohanian 2025, arXiv 2512.12880)

The model is papers/mixture_of_loras.py: one layer that is looped six times, whose MLP a router
changes for each token. Is the loss lower than without? The other ways to spend as many weights are
a wider loop, LoRA for each loop (papers/relaxed_recursive.py), and one LoRA for all tokens, of the
rank of all experts together. A stack of six layers has four times the weights. And are as many
answers right if the experts are merged into one?

    python -m claims.mixture_of_loras          4 to 7 minutes a seed on one core
"""

import copy

import numpy as np
import torch

from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="mixture_of_loras",
    title="Improving Recursive Transformers with Mixture of LoRAs (Nouriborji et al. 2025)",
    arxiv="2512.12880",
    changes="a router adds low-rank matrices to the shared MLP, others for each token",
    claim="low-rank experts that a router chooses for each token make a loop better than fixed "
    "ones do, and better than a larger stack; merged into one they keep the accuracy",
    theirs="GLUE 88.7 with 120M weights, a stack of 149M 88.5; the mean of the experts keeps most "
    "of it (from a description of the paper)",
    falls="the loss is not 0.02 nats below that of the plain loop, of a wider one, of LoRA for "
    "each loop, of one LoRA for all tokens, or of 6 layers; merged, 0.05 fewer answers are right",
    tried="seed 0, on val, at a rate of 0.003: after 800 steps 0.07 nats with experts, 0.09 with "
    "one LoRA, 0.39 with LoRA for each loop, 0.55 in the stack; after 900 steps 0.02 with experts, "
    "0.17 without. In a world of 640 facts, 3 hops, none of them walked two hops in 900 steps. Two "
    "rates for each model on the reported seeds, chosen on val",
    note="hops by heart from scratch, where theirs is an encoder of texts that is distilled from a "
    "larger model, with experts in some of its groups of layers; four experts of rank 8, two for "
    "each token. How theirs merges is known to us as a mean of the experts; here it is the mean of "
    "the products of their factors, without further training",
)
STEPS, RATES = 800, (3e-3, 6e-3)
ALL = dict(task="multihop", hops=4, loops=6, sampler="fixed", curriculum=False, norm="pre")
ALL |= dict(injection="none", steps=STEPS, eval_every=STEPS)
LORAS, PLAIN, WIDER = "4 experts", "plain", "plain, wider"
EACH_LOOP, ONE, STACK = "LoRA for each loop", "one LoRA", "6 layers"
MODELS = {
    LORAS: dict(model="mixture_of_loras", experts=4, chosen=2, rank=8),
    PLAIN: dict(),
    WIDER: dict(n_embd=76),
    EACH_LOOP: dict(model="relaxed_recursive", rank=4),
    ONE: dict(model="mixture_of_loras", experts=1, chosen=1, rank=32),
    STACK: dict(tied=False),
}
MERGED, WITHOUT = "merged", "experts left out"


def measure(lab):
    for name, flags in MODELS.items():
        found = {}
        for rate in RATES:
            model, task, _ = lab.train(f"{name} {rate}", **ALL | flags | dict(lr=rate))
            on_val, _ = lab.loss(model, task, "val")
            found[on_val] = rate, model
        rate, model = found[min(found)]
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
    names = (*MODELS, MERGED, WITHOUT)
    right = {name: table.values("right", model=name) for name in names}
    parts = []
    for name in (PLAIN, WIDER, EACH_LOOP, ONE, STACK):
        room = np.mean(loss[name]) > 0.02
        missing = "" if room else "the loss of the control leaves no room below it"
        learned = {each: (right[each], 0.3) for each in (LORAS, name)}
        to = dict(by=0.02, learned=learned, questions=0, missing=missing)
        parts.append(more(f"lower than {name}", loss[name], loss[LORAS], **to))
    to = dict(weak=right[WITHOUT], learned={LORAS: (right[LORAS], 0.3)}, questions=2000)
    parts.append(as_good("merged, as many right", right[MERGED], right[LORAS], 0.05, **to))
    ours = table.tell(["model"], dict(loss=3, right=2, weights=0))
    return f"nats an answer after {STEPS} steps (right; weights): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 3.5), layout="constrained")
    labels = []
    for place, (name, color) in enumerate(zip(MODELS, COLORS)):
        losses, weights = (table.values(each, model=name) for each in ("loss", "weights"))
        axis.plot(losses, [place] * len(losses), "o", color=color)
        axis.plot(np.median(losses), place, "|", ms=24, color=color)
        labels.append(f"{name} ({weights[0]:,} weights)")
    axis.axvline(0, color="0.8", lw=1)
    axis.set(xlabel="loss (nats an answer, test)")
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
