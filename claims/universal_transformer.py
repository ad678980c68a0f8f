"""
Universal Transformers (Dehghani et al. 2019, arXiv 1807.03819), with the start of Sapunov 2026
(arXiv 2604.21999)

The model is papers/universal_transformer.py. Does halting learn difficulty, does that depend on
where its bias starts, and how far does an averaged answer go on questions harder than in training?
The control neither averages nor halts: it reads the last state.

    python -m claims.universal_transformer          5 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.rows import COLORS, in_parts
from support.figures import WIDTH, plt
from tasks import IGNORE

CLAIM = Claim(
    name="universal_transformer",
    title="Universal Transformers (Dehghani et al. 2019)",
    arxiv="1807.03819",
    changes="sines of position and loop are added to the state; each position halts on its own and "
    "averages its states",
    claim="halting learns difficulty if its bias starts at -3, not 0; ACT extrapolates less than "
    "the last state",
    theirs="Sudoku (Sapunov 2026, with memory tokens): bias -3 0.57, bias 0 or more sticks at few "
    "loops",
    note="hops through learnt facts. The first claim is of Sapunov, the second ours; its control "
    "neither averages nor halts, and the curves at 8 hops follow the loop of halting: it may be "
    "halting, not the average",
)
ACT, LAST = "ACT", "last state"
MODELS = {
    ACT: dict(),
    "ACT, bias 0": dict(halt_bias=0.0),
    "ACT, no signals": dict(signals=False),
    LAST: dict(act=False),
    "last state, no signals": dict(act=False, signals=False),
}
HALTING = [name for name in MODELS if name.startswith(ACT)]
HOPS, LOOPS = (1, 2, 3, 4, 5, 6, 8), 16
TRAINED = 4  # hops
ALL = dict(task="multihop", model="universal_transformer", hops=TRAINED, steps=2000)


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL, **flags)
        for hops in HOPS:
            batch = task.batch("test", 0, lab.examples, hops)
            states = model.trajectory(batch.tokens, LOOPS)[-1, batch.targets != IGNORE]
            halts = model.parts(states).loops.mean().item()
            right, _ = lab.best(model, task, hops, LOOPS)
            yield dict(model=name, hops=hops, right=right, halts=halts)


def judge(table):
    def right(model, hops=TRAINED):
        return table.median("right", model=model, hops=hops)

    def halts(model, hops=TRAINED):
        return table.median("halts", model=model, hops=hops)

    halts_early = halts("ACT, bias 0") <= halts(ACT) - 1
    gains = [right(LAST, 6) - right(ACT, 6)]
    gains += [right("last state, no signals", 6) - right("ACT, no signals", 6)]
    shown = {
        "halting learns difficulty": halts(ACT) >= halts(ACT, 1) + 1 and right(ACT) >= 0.9,
        "bias 0 sticks": halts_early and right("ACT, bias 0") <= right(ACT) - 0.05,
        "ACT extrapolates less than the last state": min(gains) >= 0.1,
    }
    accuracy = table.tell(["model", "hops"], dict(right=2), hops=(TRAINED, 6))
    loops = table.tell(["model", "hops"], dict(halts=1), hops=(1, TRAINED), model=HALTING)
    ours = f"right at the best loop count, {accuracy}; loops until it halts, {loops}"
    return ours, in_parts(shown)


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        if name in HALTING:
            table.plot(left, "hops", "halts", color=color, label=name, model=name)
        table.plot(right, "hops", "right", color=color, label=name, model=name)
    left.set(ylabel="loops until the answer halts (mean)")
    right.set(ylabel="accuracy (test, best loop count)")
    for axis in (left, right):
        axis.axvline(TRAINED + 0.5, color="k", lw=0.8, ls=":")
        axis.set(xlabel="hops (trained: left of the line)", ylim=(0, None))
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
