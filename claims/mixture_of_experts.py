"""
MoEUT: Mixture-of-Experts Universal Transformers (Csordás et al. 2024, arXiv 2405.16039)

The model is papers/mixture_of_experts.py: two layers that are looped three times; each token uses a
few of their experts. What sharing loses is memory, so the questions are facts (facts.py): as many
as a stack of six layers can learn in this training, and twice as many. Does the loop learn as many
as the stack, which has as many weights and does as much for a token? And more than the plain loop,
which does as much, too, and has a third of the weights? Three others are reported, not judged:
experts in the MLP alone, the same block with as many weights as the plain loop, all of which each
token uses, and a plain loop that is wider, has as many weights and does three times as much.

    python -m claims.mixture_of_experts --seeds 40 41 42          15 minutes a seed on one core
"""

import numpy as np

from claims.experiment import Claim, count_weights, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from papers.mixture_of_experts import ExpertsConfig
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="mixture_of_experts",
    title="MoEUT: Mixture-of-Experts Universal Transformers (Csordás et al. 2024)",
    arxiv="2405.16039",
    changes="MLP and attention have several times the weights, of which each token uses a few",
    claim="with experts in MLP and attention a loop is as good as a stack of as many weights, for "
    "no more compute, on a task that is limited by weights",
    theirs="on language modeling slightly better than a standard transformer of as many weights, "
    "with less compute and memory (up to about a billion weights)",
    falls="it knows 0.05 fewer of the facts than the stack, or less than 0.05 more than the plain "
    "loop",
    tried="seed 0: rates of 0.0025, 0.005 and 0.01, of which the second is best for each model; of "
    "9,216 facts experts know 0.41 (0.35 with the usual start of the weights), 6 layers 0.62, the "
    "plain loop 0.24; of 4,096 facts 0.99, 1.00 and 0.85",
    note="facts by heart instead of text. In 2,500 steps each of 4,096 facts is seen 156 times, of "
    "9,216 facts 69 times, so the larger number also asks how fast a model learns. That experts "
    "need less compute than a wider layer is so by construction. Theirs is as wide as its stack, "
    "as here, but has 16 to 36 layers and up to 500 experts",
)
STEPS = 2500
FACTS = {"4,096 facts": 32, "9,216 facts": 48}  # letters; of each name 4 attributes are known
ALL = dict(task="facts", position="window", reach=3, batch=256, weight_decay=0.0, lr=5e-3)
ALL |= dict(n_embd=24, n_head=2, sampler="fixed", curriculum=False, injection="none")
ALL |= dict(steps=STEPS, eval_every=STEPS)
MOEUT, MLP_ALONE, ALL_USED = "experts", "experts in the MLP alone", "all experts are used"
STACK, PLAIN, WIDER = "6 layers", "plain loop", "plain loop, wider"
LEARNED = 0.1  # of the facts have to be known by the stack, and by the plain loop
LOOP = dict(n_core=2, loops=3)
IN_MLP = LOOP | dict(model="mixture_of_experts", head_experts=1, head_chosen=1)
MODELS = {
    MOEUT: IN_MLP | dict(experts=24, chosen=4, expert_width=12, head_experts=4, head_chosen=2),
    MLP_ALONE: IN_MLP | dict(experts=30, chosen=6, expert_width=12),
    ALL_USED: IN_MLP | dict(experts=4, chosen=4, expert_width=24),
    STACK: dict(n_core=6, loops=1, norm="pre"),
    PLAIN: LOOP | dict(norm="pre"),
    WIDER: LOOP | dict(norm="pre", n_embd=42),
}


def multiplications(model):
    """Of a token, in all applications of the layers; of the experts those that it uses."""
    config, total = model.config, 0
    for name, matrix in model.core.named_parameters():
        share = 1.0
        if isinstance(config, ExpertsConfig):
            if ".mlp.up." in name or ".mlp.down." in name:
                share = config.chosen / config.experts
            if ".attention.value." in name or ".attention.out." in name:
                share = config.head_chosen / config.head_experts
        total += config.loops * share * matrix.numel() * (matrix.dim() > 1)  # no gains of norms
    return round(total)


def measure(lab):
    for facts, letters in FACTS.items():
        for name, flags in MODELS.items():
            model, task, _ = lab.train(f"{name} {letters}", **ALL | flags, letters=letters)
            loss, right = lab.loss(model, task, "test")
            weights = count_weights(model.core)
            row = dict(weights=weights, multiplications=multiplications(model))
            yield dict(facts=facts, model=name, right=right, loss=loss) | row


def judge(table):
    parts = []
    for facts in FACTS:
        right = {name: table.values("right", facts=facts, model=name) for name in MODELS}

        def rules(name):
            return dict(learned={f"{facts}, {name},": (right[name], LEARNED)}, questions=2000)

        good, better = (
            f"{facts}, {each}" for each in ("as good as the stack", "better than the plain loop")
        )
        weak = dict(weak=right[PLAIN])
        parts += [
            as_good(good, right[MOEUT], right[STACK], 0.05, **weak, **rules(STACK)),
            more(better, right[MOEUT], right[PLAIN], 0.05, **rules(PLAIN)),
        ]
    known = table.tell(["facts", "model"], dict(right=2, loss=2))
    first = dict(facts=next(iter(FACTS)))
    sizes = table.tell(["model"], dict(weights=0, multiplications=0), **first)
    sizes = f"weights of the layers (multiplications): {sizes}"
    return f"known, with the loss in nats, of {known}; {sizes}", parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    for axis, facts in zip(axes, FACTS):
        for name, color, mark in zip(MODELS, COLORS, "os^DvP"):
            weights, right = (
                table.values(each, facts=facts, model=name) for each in ("weights", "right")
            )
            axis.plot(np.divide(weights, 1000), right, mark, color=color, label=name)
        axis.set(title=facts, xlabel="weights of the layers (thousands)", ylim=(-0.03, 1.03))
    axes[0].set(ylabel=f"known after {STEPS} steps")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
