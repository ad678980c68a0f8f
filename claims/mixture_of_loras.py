"""
Improving Recursive Transformers with Mixture of LoRAs
(Nouriborji, Rohanian, Rohanian 2025, arXiv 2512.12880)

The model is papers/mixture_of_loras.py: one layer that is looped six times, whose MLP a router
changes for each token. What sharing loses is memory, so the questions are facts (facts.py), more
than the loop can hold. Is the loss lower than with as many low-rank matrices that are the same for
all tokens, one for each loop? Told beside are a wider loop of as many weights, the plain loop,
which is smaller, and a stack of six narrower layers, which is larger. If the facts are so few that
the shared weights alone could hold them, are as many right when the experts are merged into one?

    python -m claims.mixture_of_loras --seeds 40 41 42          13 minutes a seed on one core
"""

import copy

import torch

from claims.experiment import Claim, count_weights, run_claim
from claims.parts import as_good, lower
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="mixture_of_loras",
    title="Improving Recursive Transformers with Mixture of LoRAs (Nouriborji et al. 2025)",
    arxiv="2512.12880",
    changes="a router adds low-rank matrices to the shared MLP, others for each token",
    claim="low-rank experts that a router chooses for each token make a loop better than low-rank "
    "matrices that are the same for all tokens; merged into one they keep the accuracy",
    theirs="GLUE 88.7 with 120M weights, a stack of 149M 88.5; the mean of the experts keeps most "
    "of it (from a description of the paper)",
    falls="the loss is not 0.1 nats below that of LoRA for each loop; or, of facts that are fewer, "
    "0.05 fewer are right if the experts are merged",
    tried="seed 0, on val, rates of 0.005 and 0.01: experts 2.39 and 2.57 nats, LoRA for each loop "
    "2.32 and 2.38. 4,096 facts leave no room after 5,000 steps: 0.14 and 0.07, 0.05 and 0.02, a "
    "wider loop 0.03 and 0.01",
    note="facts by heart from scratch, where theirs is an encoder of texts that is distilled from "
    "a larger model, with experts in some of its groups of layers. Theirs beats a larger stack: "
    "for facts the weights count, so that the stack, a third larger, a wider loop and the plain "
    "loop, two fifths smaller, are only told. Four experts of rank 6, two for each token, whose "
    "weights are added; in one description of theirs it is the outputs of an MLP for each. Their "
    "own ablation, experts behind the MLP instead of in its weights, is not here. By what we know "
    "theirs merges with equal shares, or with shares by use; here it is the mean of the products "
    "of their factors, without further training",
)
STEPS = 5000
ALL = dict(task="facts", position="window", reach=3, batch=256, weight_decay=0.0, n_embd=24)
ALL |= dict(loops=6, sampler="fixed", curriculum=False, norm="pre", injection="none")
ALL |= dict(letters=48, steps=STEPS, eval_every=STEPS)  # 9,216 facts
FEW = dict(letters=16)  # 1,024 facts
LORAS, PLAIN, WIDER = "4 experts", "plain", "plain, wider"
EACH_LOOP, STACK = "LoRA for each loop", "6 layers"
MODELS = {
    LORAS: dict(model="mixture_of_loras", experts=4, chosen=2, rank=6),
    PLAIN: dict(),
    WIDER: dict(n_embd=32),
    EACH_LOOP: dict(model="mixture_of_loras", by_loop=True, experts=6, rank=4),
    STACK: dict(tied=False, n_embd=16),
}
LR = 5e-3
NATS = 0.1
LEARNED = 0.25  # facts that the experts, and the control, have to know
MERGED, WITHOUT = "merged", "experts left out"


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags, lr=LR)
        loss, right = lab.loss(model, task, "test")
        weights = count_weights(model)
        yield dict(facts="many", model=name, loss=loss, right=right, weights=weights)
    model, task, _ = lab.train("few", **ALL | FEW | MODELS[LORAS], lr=LR)
    for name, each in {LORAS: model, MERGED: merged(model), WITHOUT: without(model)}.items():
        loss, right = lab.loss(each, task, "test")
        yield dict(facts="few", model=name, loss=loss, right=right)


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
    loss = {name: table.values("loss", facts="many", model=name) for name in MODELS}
    right = {name: table.values("right", facts="many", model=name) for name in MODELS}
    learned = {name: (right[name], LEARNED) for name in (LORAS, EACH_LOOP)}
    name = f"lower than {EACH_LOOP}"
    parts = [lower(name, loss[LORAS], loss[EACH_LOOP], NATS, learned=learned)]
    experts, one, none = (
        table.values("right", facts="few", model=name) for name in (LORAS, MERGED, WITHOUT)
    )
    learned = {f"{LORAS}, few facts,": (experts, 0.9)}
    parts.append(as_good("merged, as many right", one, experts, 0.05, weak=none, learned=learned))
    ours = table.tell(["model"], dict(loss=3, right=2, weights=0), facts="many")
    few = table.tell(["model"], dict(right=2), facts="few")
    return (
        f"nats a fact after {STEPS:,} steps (right; weights): {ours}; of few facts right: {few}",
        parts,
    )


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 3.5), layout="constrained")
    table.dots(axis, "loss", kind="model", facts="many")
    axis.axvline(0, color="0.8", lw=1)
    axis.set(xlabel="loss (nats a fact)")
    weights = table.medians("weights", over="model", facts="many")
    axis.set_yticks(range(len(weights)), [f"{k} ({v:,.0f} weights)" for k, v in weights.items()])
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
