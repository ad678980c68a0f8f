"""
InfiLoop: Scaling to Tens of Thousands of Test-Time Iterations with Loop-Native Attention Residuals
(Li et al. 2026, arXiv 2610.11570)

The model is papers/infiloop.py. Does a loop that hands on a weighted mean of all its results solve
more boards if it loops longer, and more than the plain loop does? On p-hop the plain loop
overthinks: after six times the loops of its training it has lost many of its answers. Does the mean
keep them? Controls: the plain loop, which has the same size but for a number a channel, and a loop
with a step of a fixed size, 0.45, which is that of InfiLoop before training.

    python -m claims.infiloop          4 to 12 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import more, reaches
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="infiloop",
    title="Scaling to Tens of Thousands of Test-Time Iterations (InfiLoop; Li et al. 2026)",
    arxiv="2610.11570",
    changes="the state is a running mean of all results, each weighted by what it is",
    claim="a loop that hands on a weighted mean of all its results goes on to solve more with more "
    "loops, more than a plain loop, and keeps right answers",
    theirs="Sudoku-Extreme: 0.909 after 1,872 layers, 0.927 after 24,960; without the mean 0.622 "
    "after 468, 0.581 after 1,872",
    falls="192 loops solve no more boards than 12, or no more than the plain loop or a step of "
    "fixed size; on p-hop it keeps under 0.9 of the answers for 48 loops, or no more than these",
    tried="one setting; p-hop with seed 0: 3 hops are right 1.00 after 8 loops, 0.97 after 10, "
    "0.33 after 48",
    note="6x6 boards; one loop, with a loss on each (Sudoku) or on the last (p-hop), instead of "
    "the two nested ones of a tiny recursive model with a loss after each of many segments. After "
    "1,000 steps on p-hop beta is still 0.55 and q short (0.4), so that the mean forgets quickly "
    "(seed 0)",
)
PLAIN, MEAN, FIXED = "plain loop", "InfiLoop", "fixed step"
MODELS = {
    PLAIN: {},
    MEAN: dict(model="infiloop"),
    FIXED: dict(model="equilibrium", damping=0.55, noise=0.0, state_init="embed"),
}
SUDOKU = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", loops=12)
SUDOKU |= dict(sampler="fixed", loss="every", curriculum=False, n_embd=48, batch=32, lr=3e-3)
TASKS = {
    "Sudoku": SUDOKU | dict(steps=1500),
    "p-hop": dict(task="phop", hops=3, steps=1000),
}
HARD = {"Sudoku": 32, "p-hop": 3}  # boards that need search; the most hops in training
LOOPS = {"Sudoku": (12, 192), "p-hop": (8, 48)}  # the most in training, and in the test
QUESTIONS = {"Sudoku": 62, "p-hop": 500}  # the other boards are the same in other digits


def measure(lab):
    for kind, of_task in TASKS.items():
        trained, most = LOOPS[kind]
        fewer = dict(puzzles=2000) if lab.tiny and kind == "Sudoku" else {}
        for name, of_model in MODELS.items():
            model, task, _ = lab.train(f"{kind} {name}", **of_task | of_model | fewer)
            curve = lab.by_loop(model, task, HARD[kind], most)
            row = dict(task=kind, model=name, right=curve[-1], as_trained=curve[trained - 1])
            yield row | dict(by_loop=curve)


def judge(table):
    parts, ours = [], []
    for kind, (loops, most) in LOOPS.items():
        bar = 0.3 if kind == "Sudoku" else 0.9
        right, trained, learned = {}, {}, {}
        for name in MODELS:
            right[name] = table.values("right", task=kind, model=name)
            trained[name] = table.values("as_trained", task=kind, model=name)
            learned[name] = {f"{kind}, {name}, as trained,": (trained[name], bar)}
        mean, plain = right[MEAN], right[PLAIN]
        to = dict(learned=learned[MEAN], questions=QUESTIONS[kind])
        if kind == "Sudoku":
            name = f"{kind}, {most} loops solve more than {loops}"
            parts.append(more(name, mean, trained[MEAN], **to))
        else:
            name = f"{kind}, keeps its answers for {most} loops"
            parts.append(reaches(name, mean, 0.9, weak=plain, **to))
        for other in (PLAIN, FIXED):
            to = dict(learned=learned[MEAN] | learned[other], questions=QUESTIONS[kind])
            parts.append(more(f"{kind}, more than the {other}", mean, right[other], **to))
        told = table.tell(["model"], dict(right=2, as_trained=2), task=kind)
        ours.append(f"{kind}, right after {most} loops (as trained: {loops}): {told}")
    return "; ".join(ours), parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    names = {"Sudoku": "6x6 boards that need search", "p-hop": "p-hop, 3 hops"}
    for axis, (kind, title) in zip(axes, names.items()):
        for name, color in zip(MODELS, COLORS):
            table.curves(axis, "by_loop", color=color, label=name, task=kind, model=name)
        trained, _ = LOOPS[kind]
        axis.axvline(trained, color="0.8", lw=1)
        axis.set(title=title, xlabel=f"loops (training: up to {trained})")
    axes[0].set(ylabel="right (test)", ylim=(-0.03, 1.03))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
