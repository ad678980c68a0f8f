"""
Relaxed Recursive Transformers: Effective Parameter Sharing with Layer-wise LoRA
(Bae et al. 2025, arXiv 2410.20672)

The model is papers/relaxed_recursive.py. A stack of six layers becomes two that are looped three
times. Trained on for a few steps, is that better than the same loop from scratch, with or without a
curriculum, and still after four times the steps? Does a matrix of low rank for each loop help, and
is it nearly as good as the stack?

    python -m claims.relaxed_recursive --seeds 40 41 42          8 minutes a seed on one thread
"""

import copy

from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="relaxed_recursive",
    title="Relaxed Recursive Transformers (Bae et al. 2025)",
    arxiv="2410.20672",
    changes="a low-rank matrix for each loop; weights can come from a trained stack",
    claim="a stack becomes a loop in few steps: better than from scratch, and with LoRA of a "
    "sufficient rank nearly as good as the stack",
    theirs="Gemma 2B as a loop of 1B, trained on 60 billion tokens, with its stack as a teacher, "
    "recovers most of its accuracy (the highest rank is 512), and is better than models of 1B",
    falls="from scratch, in as many steps, 300 or 1,200, with or without a curriculum, the loop is "
    "within 0.02; a rank does not help; the loop with rank 16 is 0.05 worse than the stack",
    tried="two ways to share (average, stepwise), three ranks; `average` is judged, the "
    "better of the two with every rank",
    note="6 layers become 2 that are looped 3 times, with one learning rate for all and no "
    "teacher; query, key and value share one low-rank matrix. Parameters: the stack 297,676, the "
    "loop 100,556, with rank 4 125,132, with 16 198,860. With as many steps as the stack and the "
    "conversion together the loop from scratch is as good as the stack, so what is saved here is "
    "steps, not weights",
)
HOPS, LOOPS, FEW, MORE, MANY = 4, 3, 300, 1200, 3000
NONE, LOW, HIGH = RANKS = (0, 4, 16)
ALL = dict(task="multihop", hops=HOPS, n_core=2, loops=LOOPS, sampler="fixed", injection="none")
ALL |= dict(norm="pre", reembed=False)
ON = dict(model="relaxed_recursive", steps=FEW, curriculum=False)  # the hard questions at once
# what as many steps in one go give
WHOLE = {"stack, all steps": dict(tied=False), "scratch, all steps": dict(tied=True)}
SHARED = ("average", "stepwise")
SCRATCH, CONVERTED = "loop from scratch", "loop from the stack"
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
    for name, flags in {SCRATCH: {}, CONVERTED: dict(start=start)}.items():
        for steps in (FEW, MORE):
            found = []
            for curriculum in (False, True):
                settings = ON | dict(steps=steps, curriculum=curriculum, rank=NONE)
                label = f"{name} {steps}" + " with curriculum" * curriculum
                model, _, _ = lab.train(label, **ALL | settings | flags)
                on_val = lab.by_loop(model, task, HOPS, LOOPS, "val")[-1]
                found.append((on_val, curriculum, right(model)))
            _, curriculum, best = max(found)
            yield dict(model=name, steps=steps, right=best, curriculum=curriculum)
    for name, flags in WHOLE.items():
        model, _, _ = lab.train(name, **ALL | flags, steps=MANY + FEW)
        yield dict(model=name, right=right(model))


def judge(table):
    def right(name, **where):
        return table.values("right", model=name, **where)

    stack = right("stack, all steps")
    learned = {"the stack": (stack, 0.9)}
    none, low, high = (right("average", rank=rank) for rank in RANKS)
    both = learned | {"from scratch, all steps,": (right("scratch, all steps"), 0.9)}
    parts = [
        more(
            f"better than from scratch in {steps} steps",
            right(CONVERTED, steps=steps),
            right(SCRATCH, steps=steps),
            0.02,
            learned=both,
        )
        for steps in (FEW, MORE)
    ]
    parts += [
        more(f"rank {LOW} helps", low, none, learned=learned),
        more(f"rank {HIGH} helps", high, none, learned=learned),
        as_good("nearly as good as the stack", high, stack, 0.05, weak=none, learned=learned),
    ]
    loops = table.tell(["model", "rank"], dict(right=2), model=STARTS)
    whole = table.tell(["model"], dict(right=2), model=("stack", *WHOLE))
    longer = table.tell(["model", "steps"], dict(right=2), model=(SCRATCH, CONVERTED))
    ours = f"{HOPS} hops in one go: {whole}; with or without a curriculum, as val likes: {longer}; "
    return ours + f"after {FEW} steps: {loops}", parts


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
