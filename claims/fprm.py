"""
FPRM, Fixed-Point Reasoners: Stable and Adaptive Deep Looped Transformers (Movahedi et al. 2026,
arXiv 2606.18206)

The model is papers/fprm.py. Pre-norm with scaled residuals should let a loop be deep and come to
rest, and its rest should tell when to halt. The twins, of the same size but for two numbers a
channel, are the plain loop with pre-norm and with post-norm.

    python -m claims.fprm --seeds 40 41 42          8 minutes a seed on one core
"""

from claims.experiment import Claim, mean, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="fprm",
    title="Fixed-Point Reasoners: Stable and Adaptive Deep Looped Transformers (Movahedi et al. "
    "2026)",
    arxiv="2606.18206",
    changes="pre-norm, with scales on what each branch keeps and adds; halts when nothing moves",
    claim="with pre-norm and scaled residuals a loop solves more than with post-norm, or with "
    "pre-norm alone, and it halts by its fixed point, later on harder questions, at no loss",
    theirs="Sudoku-Extreme 0.942 (7M, up to 35,000 loops, steps that shrink by 0.997), where the "
    "tiny recursive model has 0.747 with attention (post-norm), and 0.87 with an MLP in its place",
    falls="a plain loop of either norm solves as many boards, or the halt comes no loop later on "
    "hard boards, or loses 0.05",
    tried="one setting of FPRM (120 steps with seed 0: it learns, a little later than pre-norm)",
    note="6x6 boards; a loss after every loop instead of every six, no noise at the start, no "
    "convolution; 12 loops of one layer, where theirs trains up to 72 of two, so that the depth at "
    "which post-norm fails is not reached here. A step shrinks by 0.99 after five loops without "
    "progress, as in their training, and 64 loops are the most",
)
L, MOST = 12, 64  # loops in training, and the most in the test
EASY, HARD = 2, 32  # rounds; 32 is the name of boards that singles do not solve
BOARDS = dict(questions=62, shared=True)  # the hard ones; others are these in other digits
ALL = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", sampler="fixed")
ALL |= dict(loops=L, curriculum=False, n_embd=48, batch=32, lr=3e-3, loss="every", steps=2000)
SCALED, PRE, POST = "FPRM", "pre-norm", "post-norm"
MODELS = {
    SCALED: dict(model="fprm"),
    PRE: dict(norm="pre"),
    POST: dict(norm="post"),
}


def measure(lab):
    fewer = dict(puzzles=2000) if lab.tiny else {}
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags | fewer)
        rule = "rest" if name == SCALED else "settle"
        for rounds, board in {EASY: "easy", HARD: "hard"}.items():
            curve = lab.by_loop(model, task, rounds, MOST)
            batch = task.batch("test", 0, lab.examples, rounds)
            logits, loops = model.solve(batch.tokens, rule, max_loops=MOST)
            right = mean(task.check(batch, logits.argmax(-1)))
            best, best_loops = lab.best(model, task, rounds, MOST)
            yield dict(
                model=name,
                boards=board,
                best=best,
                best_loops=best_loops,
                as_trained=curve[L - 1],
                right_at_exit=right,
                loops_at_exit=mean(loops),
                rests=mean(loops < MOST),
                by_loop=curve,
            )


def judge(table):
    def values(column, name=SCALED, boards="hard"):
        return table.values(column, model=name, boards=boards)

    def compared(*names):
        learned = {f"{name}, as trained,": (values("as_trained", name), 0.3) for name in names}
        return dict(learned=learned, **BOARDS)

    best = {name: values("best", name) for name in MODELS}
    alone = compared(SCALED) | dict(questions=0)  # loops; and the same model, asked the same
    alone["learned"]["FPRM, the share that rests,"] = (values("rests"), 0.5)
    soon, late = (values("loops_at_exit", boards=boards) for boards in ("easy", "hard"))
    at_easy = [curve[round(loop) - 1] for curve, loop in zip(values("by_loop"), soon)]
    at_exit, ours = values("right_at_exit"), best[SCALED]
    parts = [
        more("more boards than with pre-norm alone", ours, best[PRE], **compared(SCALED, PRE)),
        more("more boards than with post-norm", ours, best[POST], **compared(SCALED, POST)),
        more("halts later on hard boards", late, soon, 1.0, **alone),
        as_good("the halt loses nothing", at_exit, ours, 0.05, weak=at_easy, **alone),
    ]
    digits = dict(best=2, best_loops=0, as_trained=2, right_at_exit=2, loops_at_exit=1, rests=2)
    told = table.tell(["model", "boards"], digits)
    return f"right at the loops that val likes, up to {MOST} (as trained: {L}): {told}", parts


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        table.curves(left, "by_loop", color=color, label=name, model=name, boards="hard")
    left.axvline(L, color="0.8", lw=1)
    left.set(xlabel=f"loops (training: {L})", ylim=(-0.03, 1.03))
    left.set_ylabel("6x6 boards that need search (test)")
    left.legend()
    table.bars(right, "loops_at_exit", group="model", kind="boards")
    right.set(ylabel=f"loops until it rests (at most {MOST})")
    right.margins(y=0.25)
    right.legend(loc="upper center", ncols=2)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
