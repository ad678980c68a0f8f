"""
Staircase Attention for Recurrent Processing of Sequences (Ju et al. 2021, arXiv 2106.04279)

The model is papers/staircase.py, the task places.py. At the same cost a token, does a recurrence in
time follow things through a text that is too long for a fixed number of loops? The controls are
ladders at its cost, one that sees as far in a loop as the staircase does and one that sees all, and
one with as many steps in a row, which costs more and more.

    python -m claims.staircase --seeds 40 41 42          11 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import more, reaches
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="staircase",
    title="Staircase Attention (Ju et al. 2022)",
    arxiv="2106.04279",
    changes="loop t works on a window of chunks that moves over the text",
    claim="at the same cost a token, a recurrence in time tracks what a fixed number of loops "
    "cannot",
    theirs="an algorithm task (from the readme of its code, another version than the paper's): "
    "error 3.6 with a staircase, 58.4 with a transformer",
    falls="a ladder of the same cost a token is within 0.3 at 24 moves, whether it sees as far as "
    "the staircase or all of the text; or the staircase fails at 96",
    tried="ladders that see all or a window, with 4, 16 or a random number of loops",
    note="one layer; the input is added again in every loop, where theirs enters once; nothing is "
    "cached of the chunks that have left, the paper's plain variant. A ladder with as many steps "
    "does it, too, at 13 times the cost. A ladder that sees all of the text, with 16 loops, "
    "always, has 0.99 of 24 and 0.00 of 96 moves (3 other seeds)",
)
MOVES, CHUNK, PASSES = 24, 2, 4
ASKED = (12, 24, 48, 96)  # moves


def steps(moves):
    """Loops until the last chunk has had its passes."""
    chunks = -(-(moves + 1) // CHUNK)
    return chunks + PASSES - 1


ALL = dict(task="places", moves=MOVES, sampler="fixed", reach=CHUNK * PASSES)
ALL |= dict(curriculum=False, lr=3e-3, eval_size=100, steps=1500)
LADDER, ALL_SEEN = "ladder", "ladder that sees all"
STAIRCASE, LONG = "staircase", "long ladder"
LEARNED = {LADDER: 0.9, ALL_SEEN: 0.5}  # of the shortest texts
MODELS = {  # with a window of CHUNK * PASSES tokens a ladder sees what the staircase sees
    LADDER: dict(position="window", loops=PASSES),
    ALL_SEEN: dict(position="relative", loops=PASSES),
    STAIRCASE: dict(
        model="staircase", position="relative", chunk=CHUNK, passes=PASSES, loops=steps(MOVES)
    ),
    LONG: dict(position="window", sampler="poisson", loops=steps(MOVES)),  # on average
}


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        for moves in ASKED:
            loops = PASSES if name in (LADDER, ALL_SEEN) else steps(moves)
            yield dict(model=name, moves=moves, right=lab.by_loop(model, task, moves, loops)[-1])


def judge(table):
    ours = table.tell(["model", "moves"], dict(right=2))

    def right(name, moves):
        return table.values("right", model=name, moves=moves)

    stairs, weak = right(STAIRCASE, MOVES), right(ALL_SEEN, ASKED[-1])
    parts = []
    for name in (LADDER, ALL_SEEN):
        learned = {f"the {name}, {ASKED[0]} moves,": (right(name, ASKED[0]), LEARNED[name])}
        part = f"more than a {name}, {MOVES} moves"
        parts.append(more(part, stairs, right(name, MOVES), 0.3, learned=learned))
    learned = {f"the {STAIRCASE}, {MOVES} moves,": (stairs, 0.9)}
    most = right(STAIRCASE, ASKED[-1])
    parts.append(reaches(f"{ASKED[-1]} moves", most, 0.9, weak=weak, learned=learned))
    times = steps(ASKED[-1]) // PASSES
    return f"right at every move, {ours} (at {times} times the cost a token)", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    costs = (PASSES, PASSES, PASSES, f"{steps(ASKED[0])} to {steps(ASKED[-1])}")
    for name, cost, color in zip(MODELS, costs, COLORS[1:]):
        style = "--" if name == LONG else "-"  # it lies upon the staircase
        label = f"{name}, {cost} passes a token"
        table.plot(axis, "moves", "right", style, color=color, label=label, model=name)
    axis.axvline(MOVES, color="black", ls=":", label="longest in training")
    axis.set(xlabel="moves", ylabel="right at every move (test)", xscale="log", ylim=(-0.03, 1.05))
    axis.set_xticks(ASKED, ASKED)
    axis.minorticks_off()
    axis.legend(fontsize=9)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
