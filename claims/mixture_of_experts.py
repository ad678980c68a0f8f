"""
Experts in the loop (OpenMythos, Gomez 2026; Switch, Fedus et al. 2022, arXiv 2101.03961)

The model is papers/mixture_of_experts.py. Do the experts earn their FLOPs: is it more right than
the same layer with one MLP? Beside them stands one MLP of the size of all experts together, which
uses all of it for every token.

    python -m claims.mixture_of_experts          7 minutes a seed on one core
"""

import torch
from torch.nn import functional as F

from claims.experiment import Claim, run_claim
from claims.parts import more
from claims.rows import COLORS
from support.figures import BLUE, GREEN, GREY, WIDTH, plt

CLAIM = Claim(
    name="mixture_of_experts",
    title="Switch Transformers (Fedus et al. 2022), in a loop as in OpenMythos (2026)",
    arxiv="2101.03961",
    changes="each token's MLP is one of several, chosen anew in each loop",
    claim="for the same FLOPs a token, experts learn more than one MLP",
    theirs="Switch: in language, the same loss up to 7 times sooner",
    falls="four experts, one for each token, are not 0.05 better than one MLP",
    tried="one setting",
    note="a world of 640 facts, 4 experts, in the MLP alone (MoEUT, 2405.16039, has them in "
    "attention, too). The best count of one MLP is the 12th of at most 12, so more might mend "
    "it; up to 24 have to be asked, 8 minutes a seed. A wide MLP with the parameters of all "
    "four and four times the FLOPs is better than both, 0.91. The recipe of multi-hop had "
    "re-embedding when these seeds ran",
)
HOPS, CAP = 4, 12  # hops in training; loops at most in the test
ALL = dict(task="multihop", entities=64, relations=10, hops=HOPS, steps=3000)
ALL |= dict(model="mixture_of_experts")
ONE, EXPERTS, WIDE = "one MLP", "4 experts", "a wide MLP"
MODELS = {ONE: dict(experts=1), EXPERTS: dict(experts=4), WIDE: dict(experts=1, hidden=16)}


@torch.no_grad()
def use_of_experts(model, task):
    """
    Of the tokens of questions of four hops: for each loop the share that goes to each expert,
    [[..], ..], and the share that goes to another expert than in the loop before.
    """
    batch, chosen = task.batch("val", 0, 100, task.max_difficulty), []
    for t, _ in enumerate(model.states(batch.tokens, 8)):
        if t > 0:
            chosen.append(model.core[0].mlp.chosen)
    use = [F.one_hot(each, model.config.experts).float().mean((0, 1)).tolist() for each in chosen]
    changes = [(now != before).float().mean().item() for before, now in zip(chosen, chosen[1:])]
    return use, sum(changes) / len(changes)


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL, **flags)
        for hops in range(1, HOPS + 1):
            right, loops = lab.best(model, task, hops, CAP)
            yield dict(model=name, hops=hops, right=right, loops=loops)
        row = dict(model=name, parameters=sum(p.numel() for p in model.parameters()))
        if name == EXPERTS:
            use, changes = use_of_experts(model, task)
            row |= dict(another_expert=changes, use_by_loop=use)
        yield row


def judge(table):
    right = table.tell(["model"], dict(right=2, loops=0), hops=HOPS)
    parameters = table.tell(["model"], dict(parameters=0))
    changes = table.said("another_expert", model=EXPERTS)
    one, experts = (table.values("right", model=name, hops=HOPS) for name in (ONE, EXPERTS))
    loops = table.values("loops", model=ONE, hops=HOPS)
    missing = f"more than {CAP} loops" if max(loops) > CAP - 1 else ""
    learned = {"one MLP, one hop,": (table.values("right", model=ONE, hops=1), 0.9)}
    parts = [
        more(
            "better than one MLP at equal FLOPs",
            experts,
            one,
            0.05,
            learned=learned,
            missing=missing,
        )
    ]
    ours = f"{HOPS} hops, at the best loops: {right}; parameters: {parameters}; "
    return f"{ours}from loop to loop {changes} of the tokens change their expert", parts


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for name, color in zip(MODELS, (GREY, BLUE, GREEN)):
        table.plot(left, "hops", "right", color=color, label=name, model=name)
    left.set(xlabel="hops", ylabel="accuracy (test)", ylim=(-0.02, 1.02))
    left.set_xticks(range(1, HOPS + 1))
    left.legend(fontsize="small")
    use, *_ = table.values("use_by_loop", model=EXPERTS)
    for i, share in enumerate(zip(*use)):
        label = f"expert {i + 1}"
        right.plot(range(1, len(share) + 1), share, ".-", color=COLORS[3 + i], label=label)
    right.set(xlabel="loop", ylabel="share of the tokens (one seed)", ylim=(0, 1))
    right.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
