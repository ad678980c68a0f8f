"""
Sotaku v2: training on later iterations (Lou 2026, github.com/chenglou/sotaku)

The model is papers/late_states.py. A loop that is trained with 12 loops is used with 768. Does it
solve more boards then if a fifth of its batches began late? The loop is theirs: pre-norm, no
injection, and the prediction is fed back. Its control is the plain loop after as many steps. Beside
them stands the plain loop that was trained for as long, since late batches cost more.

    python -m claims.late_states --seeds 40 41 42          15 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import as_good, is_clear, more
from claims.rows import COLORS
from support.figures import BLUE, ORANGE, WIDTH, plt

CLAIM = Claim(
    name="late_states",
    title="Sotaku v2, a looped transformer for Sudoku (Lou 2026)",
    arxiv="2202.05826",
    changes="a fifth of the batches first loop long without a gradient",
    claim="a loop that also trains on late states solves more boards after many loops, and as many "
    "after few",
    theirs="Sudoku-Extreme, 20,000 steps, mean of three seeds: after 1,024 loops 0.36 without late "
    "states (0.00, 0.11 and 0.98), 0.94 with (0.92 to 0.95); after 16 loops 0.79 and 0.78",
    falls="after 768 loops late states solve no more boards than the plain loop, though this one "
    "has lost some since its loop 48; or they lose 0.05 at the loops of training",
    tried="seed 0, on val: after 1,200 steps the plain loop has 0.39 after 48 loops and 0.31 after "
    "768, late states 0.30 and 0.36; after 4,000 steps the plain loop has 0.905 after both. With "
    "our injection, at equal cost, seeds 40 to 42, after 192 loops: pre-norm 0.76 and with late "
    "states 0.62, post-norm 0.85 and 0.77; there the plain loop loses nothing",
    note="the link is to its ancestor, the progressive loss (Bansal et al. 2022), since Sotaku has "
    "no paper; 6x6 boards that need search, theirs 9x9; the late states are 24 to 384 loops "
    "old, theirs 32 to 512, of 12 and 16 in training; one layer, where theirs has four. What "
    "it takes is a loop that loses, as theirs on 9x9 boards. (On 9x9 boards, with the "
    "injection, one seed gains 0.05 after equal steps: LOG.md)",
)
L, MOST = 12, 768  # loops in training, and the most in the test
HARD = 32  # rounds: the name of boards that singles do not solve
BOARDS = dict(questions=62, shared=True)  # in test; the others are these in other digits
ALL = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", sampler="fixed")
ALL |= dict(loops=L, loss="every", curriculum=False, n_embd=48, batch=32, lr=3e-3)
ALL |= dict(norm="pre", injection="none", reembed=True)
PLAIN, LATE, LONGER = "plain loop", "late states", "plain loop, for as long"
MODELS = {
    PLAIN: dict(steps=2400),
    LATE: dict(model="late_states", least_late=2 * L, most_late=32 * L, steps=2400),
    LONGER: dict(steps=4000),
}


def measure(lab):
    fewer = dict(puzzles=2000) if lab.tiny else {}
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags | fewer)
        curve = lab.by_loop(model, task, HARD, MOST)
        yield dict(
            model=name,
            before=curve[L // 2 - 1],
            as_trained=curve[L - 1],
            middle=curve[4 * L - 1],
            right=curve[-1],
            by_loop=curve,
        )


def judge(table):
    def values(column, name):
        return table.values(column, model=name)

    loses = is_clear(values("middle", PLAIN), values("right", PLAIN))
    missing = "" if loses else "a plain loop that loses by looping on"
    few, early = values("as_trained", PLAIN), values("before", PLAIN)
    to = dict(learned={PLAIN: (few, 0.3)}, missing=missing, **BOARDS)
    parts = [
        more(f"more after {MOST} loops", values("right", LATE), values("right", PLAIN), **to),
        as_good(f"as many after {L}", values("as_trained", LATE), few, 0.05, weak=early, **to),
    ]
    ours = table.tell(["model"], dict(right=2, middle=2, as_trained=2))
    return f"right after {MOST} loops (middle: after {4 * L}; as trained: after {L}): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for name, color in {PLAIN: ORANGE, LATE: BLUE, LONGER: COLORS[0]}.items():
        table.curves(axis, "by_loop", color=color, label=name, model=name)
    axis.axvline(L, color="0.8", lw=1)
    axis.set(xlabel=f"loops (training: {L})", xscale="log")
    axis.set(ylabel="6x6 boards right (test)", ylim=(-0.03, 1.03))
    axis.legend()
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
