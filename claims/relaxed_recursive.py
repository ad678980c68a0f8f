"""
Relaxed Recursive Transformers: Effective Parameter Sharing with Layer-wise LoRA
(Bae et al. 2025, arXiv 2410.20672)

The model is papers/relaxed_recursive.py. A stack of six layers becomes two that are looped three
times. Trained on for a few steps, is that better than the same loop from scratch, does a matrix of
low rank for each loop help, and is it nearly as good as the stack?

    python -m claims.relaxed_recursive          6 minutes a seed on one thread
"""

import copy

from claims.experiment import Claim, run_claim
from claims.rows import COLORS, in_parts
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="relaxed_recursive",
    title="Relaxed Recursive Transformers (Bae et al. 2025)",
    arxiv="2410.20672",
    changes="a low-rank matrix for each loop; weights can come from a trained stack",
    claim="a stack becomes a loop in few steps: better than from scratch, and with LoRA nearly as "
    "good as the stack",
    theirs="Gemma 2B as a loop of 1B recovers most of its accuracy, and is better than models of "
    "1B",
    note="6 layers become 2 that are looped 3 times. Parameters: the stack 297,676, the loop "
    "100,556, with rank 4 125,132, with 16 198,860. From scratch the loop has no curriculum in its "
    "few steps; with one, and with as many steps as the stack and the conversion together, it is "
    "as good as the stack",
)
HOPS, LOOPS, FEW, MANY = 4, 3, 300, 3000
NONE, LOW, HIGH = RANKS = (0, 4, 16)
ALL = dict(task="multihop", hops=HOPS, n_core=2, loops=LOOPS, sampler="fixed", injection="none")
ALL |= dict(norm="pre", reembed=False)
ON = dict(model="relaxed_recursive", steps=FEW, curriculum=False)  # the hard questions at once
# what as many steps in one go give
WHOLE = {"stack, all steps": dict(tied=False), "scratch, all steps": dict(tied=True)}
SHARED = ("average", "stepwise")
STARTS = (*SHARED, "scratch", "at once")  # at once: converted, and not trained on


def measure(lab):
    stack, task, _ = lab.train("stack", **ALL, tied=False, steps=MANY)

    def right(model):
        return lab.by_loop(model, task, HOPS, LOOPS)[-1]

    yield dict(model="stack", right=right(stack))
    start = str(lab.folder / "stack")
    for rank in RANKS:
        flags = ALL | ON | dict(rank=rank)
        scratch, _, _ = lab.train(f"scratch_{rank}", **flags)
        yield dict(model="scratch", rank=rank, right=right(scratch))
        for shared in ("stepwise", "average"):
            model, _, _ = lab.train(f"{shared}_{rank}", **flags, shared=shared, start=start)
            yield dict(model=shared, rank=rank, right=right(model))
        converted = copy.deepcopy(model)  # the average
        converted.convert(stack)  # what it was before it was trained on
        yield dict(model="at once", rank=rank, right=right(converted))
    for name, flags in WHOLE.items():
        model, _, _ = lab.train(name, **ALL | flags, steps=MANY + FEW)
        yield dict(model=name, right=right(model))


def judge(table):
    scratch, average, stepwise = (
        table.medians("right", over="rank", model=name) for name in ("scratch", *SHARED)
    )
    loop = {rank: max(average[rank], stepwise[rank]) for rank in RANKS}
    stack = table.median("right", model="stack, all steps")
    better = {rank: loop[rank] > scratch[rank] + 0.02 for rank in (NONE, HIGH)}
    shown = {
        "the stack has learned": stack > 0.8,
        "better than from scratch in the same steps": all(better.values()),
        f"rank {HIGH} helps": loop[HIGH] > loop[NONE] + 0.02,
        f"rank {LOW} helps": loop[LOW] > loop[NONE] + 0.02,
        "nearly as good as the stack": loop[HIGH] > stack - 0.05,
    }
    needed = shown["the stack has learned"] and all(better.values())
    loops = table.tell(["model", "rank"], dict(right=2), model=STARTS)
    whole = table.tell(["model"], dict(right=2), model=("stack", *WHOLE))
    ours = f"{HOPS} hops after {FEW} steps, {loops}; in one go: {whole}"
    return ours, in_parts(shown) if needed else "not reproduced"


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4.5), layout="constrained")
    colors = (*COLORS[1:4], COLORS[1])
    for name, color in zip(STARTS, colors):
        values = [table.values("right", model=name, rank=rank) for rank in RANKS]
        medians = [table.median("right", model=name, rank=rank) for rank in RANKS]
        axis.plot(medians, ":" if name == "at once" else "-", color=color, label=name)
        axis.plot(values, ".", color=color)
    for name, style, color in zip(WHOLE, ("-", "--"), (COLORS[0], COLORS[3])):
        axis.axhline(table.median("right", model=name), color=color, ls=style, label=name)
    axis.set(xlabel="rank of what each loop adds", ylabel=f"accuracy at {HOPS} hops (test)")
    axis.set_ylim(-0.03, 1.05)
    axis.set_xticks(range(len(RANKS)), RANKS)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
