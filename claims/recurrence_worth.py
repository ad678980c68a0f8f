"""
How Much Is One Recurrence Worth? Iso-Depth Scaling Laws for Looped Language Models
(Schwethelm, Rückert, Kaissis 2026, arXiv 2604.21106)

A block that is looped r times costs as much as r blocks of its own, and has the weights of one. How
many blocks of its own is it worth? The paper says r^phi, and fits phi to the losses of many models
of the same depth:

    L = E + A (N_once + r^phi N_loop)^-alpha + B D^-beta       N: weights, D: tokens of training

phi = 1 is as good as blocks of its own, phi = 0 as one block run once. Here D is the same for all,
nothing stands outside the loop, and the other constants are not needed: stacks of four layers (r =
1) of several widths say which loss belongs to how many weights, and a looped model is worth as many
as its loss belongs to. The loop is that of looped.py, or of papers/hyperloop.py; that of the paper,
papers/recurrence_worth.py, has not been measured yet.

    python -m claims.recurrence_worth          3 to 8 minutes a seed on one core
"""

import numpy as np
import torch

from claims.experiment import Claim, run_claim
from claims.parts import more
from claims.rows import COLORS, said
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="recurrence_worth",
    title="How Much Is One Recurrence Worth? (Schwethelm et al. 2026)",
    arxiv="2604.21106",
    changes="nothing; with a gradient through half of the loops, and with hyper-connections",
    claim="a block looped r times is worth r^phi blocks of its own, with phi between 0 and 1; a "
    "truncated gradient lowers phi, and hyper-connections raise it",
    theirs="phi = 0.46 (116 runs on text, r = 1 to 8); of the 83 smaller ones 0.45, truncated "
    "0.38, with hyper-connections 0.65",
    falls="phi is not above 0.1, or not below 0.9; the truncated gradient does not lower it by "
    "0.1, or hyper-connections do not raise it by 0.1",
    tried="widths of 16 to 64, 1,000 steps, hops alone (seed 0): losses fall with the width; at a "
    "width of 32 phi is 0.8 (r = 4) and 1.1 (r = 2), and with 64 above 1 (r = 2: the loss is below "
    "the stack's). Seeds 40 to 42, whose stacks were no narrower than half of the looped width: "
    "phi of hops 1.06 (r = 2) and 1.05 (r = 4), truncated 0.07, with hyper-connections 1.35",
    note="the hyper-connections are Hyperloop's, whose gates depend on the token, where the "
    "paper's are 32 numbers, and the loop has no norm at its end; one learning rate for all. Two "
    "kinds of questions in place of text: hops by heart, which need steps, and single facts, which "
    "need memory. All models are 4 layers deep; r = 2 and 4. The weights are all but the "
    "embedding, with the gates of the hyper-connections: a fifth more, and without them phi of "
    "facts would rise by 0.02, not fall. In these steps no stack learns its hops, so that phi of "
    "hops is about how fast they are learned",
)
DEPTH = 4
WIDTHS = {"hops": (16, 24, 32, 48, 72), "facts": (8, 12, 16, 24, 36)}  # of the stacks
LOOPED = {"hops": 48, "facts": 24}
ALL = dict(sampler="fixed", curriculum=False, norm="pre", injection="add", lr=2e-3)
TASKS = {
    "hops": dict(task="multihop", hops=4, steps=1000, eval_every=1000),
    "facts": dict(
        task="facts",
        position="window",
        reach=3,
        steps=2500,
        eval_every=2500,
        batch=256,
        lr=5e-3,
        weight_decay=0.0,
    ),
}
R2, R4, TRUNCATED, HYPER = "r = 2", "r = 4", "r = 4, truncated", "r = 4, hyper"
LOOPS = {
    R2: dict(loops=2),
    R4: dict(loops=4),
    TRUNCATED: dict(loops=4, backprop_loops=2),
    HYPER: dict(loops=4, model="hyperloop", streams=2),
}


@torch.no_grad()
def found_in(lab, model, task, loops):
    """Nats an answer (val), the weights but the embedding, and r."""
    batch = task.batch("val", 0, 4 * lab.examples)
    loss, _ = model.loss(batch.tokens, batch.targets)
    weights = sum(each.numel() for each in model.parameters()) - model.embed.weight.numel()
    return dict(loss=float(loss), weights=weights, r=loops)


def measure(lab):
    for kind, questions in TASKS.items():
        for width in WIDTHS[kind]:
            flags = ALL | questions | dict(n_embd=width, n_core=DEPTH, loops=1)
            model, task, _ = lab.train(f"{kind} {width}", **flags)
            yield dict(kind=kind, width=width, **found_in(lab, model, task, 1))
        for name, loop in LOOPS.items():
            layers = DEPTH // loop["loops"]
            flags = ALL | questions | dict(n_embd=LOOPED[kind], n_core=layers) | loop
            model, task, _ = lab.train(f"{kind} {name}".replace(" = ", ""), **flags)
            yield dict(kind=kind, model=name, **found_in(lab, model, task, loop["loops"]))


def worth(losses, weights, loss):
    """
    The weights at which stacks have this loss: along straight lines between the stacks, in
    logarithms. A loss outside of theirs counts as that of the smallest or of the largest one.
    """
    lowest = np.minimum.accumulate(losses)
    better = np.append(True, lowest[1:] < lowest[:-1])  # others are wider, and worse by chance
    place, value = np.log(losses)[better], np.log(weights)[better]
    return float(np.exp(np.interp(-np.log(loss), -place, value)))


def phi_of(table, kind, name):
    """phi of each seed."""
    found = []
    for seed in table.each_seed():
        stacks = [
            [seed.median(column, kind=kind, width=width) for width in WIDTHS[kind]]
            for column in ("loss", "weights")
        ]
        where = dict(kind=kind, model=name)
        loss, weights, r = (seed.median(column, **where) for column in ("loss", "weights", "r"))
        found.append(float(np.log(worth(*stacks, loss) / weights) / np.log(r)))
    return found


def unmeasured(table, kind, names):
    """What is missing if one of these has a loss that no stack has, so that its phi is cut off."""
    stacks = [table.values("loss", kind=kind, width=width) for width in WIDTHS[kind]]
    lowest, highest = np.min(stacks, axis=0), np.max(stacks, axis=0)
    for name in names:
        loss = np.array(table.values("loss", kind=kind, model=name))
        if ((loss < lowest) | (loss > highest)).any():
            return f"stacks whose losses reach as far as that of {name}"
    return ""


def judge(table):
    parts, ours = [], []
    for kind in TASKS:
        widest = np.exp(np.negative(table.values("loss", kind=kind, width=WIDTHS[kind][-1])))
        to = dict(
            by=0.1, learned={f"the widest stack, {kind}, exp(-loss),": (widest, 0.9)}, questions=0
        )
        cut, hyper_cut = (
            dict(missing=unmeasured(table, kind, [R4, other])) for other in (TRUNCATED, HYPER)
        )
        phi = {name: phi_of(table, kind, name) for name in LOOPS}
        full, one = phi[R4], [1.0] * len(phi[R4])
        parts += [
            # a phi that is cut off is nearer to 0 than the true one, or to 1
            more(f"{kind}, a loop is worth something", full, np.zeros(len(full)), **to),
            more(f"{kind}, less than a block of its own", one, full, **to),
            more(f"{kind}, a truncated gradient lowers it", full, phi[TRUNCATED], **to | cut),
            more(f"{kind}, hyper-connections raise it", phi[HYPER], full, **to | hyper_cut),
        ]
        told = ", ".join(f"{name} {said(values)}" for name, values in phi.items())
        ours.append(f"phi of {kind}, {told}")
    return "; ".join(ours), parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for axis, kind in zip(axes, TASKS):
        place = [table.median("weights", kind=kind, width=width) for width in WIDTHS[kind]]
        losses = [table.median("loss", kind=kind, width=width) for width in WIDTHS[kind]]
        axis.plot(place, losses, "o-", color=COLORS[0], label="stack, r = 1")
        for name, color in zip(LOOPS, COLORS[1:]):
            where = dict(kind=kind, model=name)
            weights, values = table.values("weights", **where), table.values("loss", **where)
            axis.plot(weights, values, "s", color=color, label=name)
        axis.set(title=kind, xlabel="weights (thousands)", xscale="log")
        axis.set_xticks(place, [f"{weights / 1000:.0f}" for weights in place])
        axis.minorticks_off()
    axes[0].set_ylabel(f"loss (nats, val), {DEPTH} layers deep")
    axes[1].legend(fontsize="small")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
