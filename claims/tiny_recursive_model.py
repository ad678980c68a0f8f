"""
Less is More: Recursive Reasoning with Tiny Networks (Jolicoeur-Martineau 2025, arXiv 2510.04871)

The model is papers/tiny_recursive_model.py. Its first two parts, one after the other: tied layers
and deep supervision. Does each earn something? All take the same steps of the optimizer, the same
questions, and 18 applications of a layer to a question. Each is trained with both norms, and val
chooses: a stack needs pre-norm.

    python -m claims.tiny_recursive_model          about 9 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import more, untested
from claims.rows import said
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="tiny_recursive_model",
    title="Less is More: Recursive Reasoning with Tiny Networks (Jolicoeur-Martineau 2025)",
    arxiv="2510.04871",
    changes="two states, an answer and a thought about it; a loss after each segment, its state "
    "carried on",
    claim="tied layers, deep supervision, two states and averaged weights add up; a gradient "
    "through one step hurts",
    theirs="9x9: untied 0.03, tied 0.33, deep supervision 0.75, two states 0.77 (EqR 2026); TRM "
    "0.87, without averaged weights 0.80, one step 0.57",
    falls="a step of the build-up gains no more than its standard error",
    tried="both norms for each model, on the reported seeds, chosen on val; a rate of 0.001 "
    "(seed 0, deep supervision)",
    note="6x6 boards; all segments in one step of the optimizer, where the paper takes one "
    "each; no learned halting; a learning rate that falls, which leaves little to averaging. "
    "Two states need more steps: after 800 two of three seeds solve under half (seeds 20 to "
    "22), after 3,200 they solve 0.99 and 0.96 of 5 and 6 rounds (seed 0, val). To test them: "
    "20 minutes more a seed",
)
L, INNER = 18, 2  # applications of the layer in training; updates of the thought in a recursion
ALL = dict(task="sudoku", box="2x3", puzzles=4000, position="grid", sampler="fixed")
ALL |= dict(curriculum=False, n_embd=64, batch=32, lr=3e-3, loss="final")
ALL |= dict(steps=800, eval_every=800, eval_size=100)
RECURSIVE = dict(model="tiny_recursive_model", segments=3)
UNTIED, TIED, DEEP, TWO = "untied", "tied", "deep supervision", "two states"
AVERAGED, ONE_STEP = "averaged weights", "one step"
MODELS = {
    UNTIED: dict(loops=L, tied=False),
    TIED: dict(loops=L),
    # the gradient goes through as many applications as with two states
    DEEP: RECURSIVE | dict(inner=0, loops=L, backprop_loops=INNER + 1),
}
NORMS = ("post", "pre")  # of each model the one that val likes better
STEPS = [(UNTIED, TIED), (TIED, DEEP)]  # from a worse one to a better
LATER = [(DEEP, TWO), (TWO, AVERAGED), (ONE_STEP, TWO)]  # in 3,200 steps, 6 minutes a model
HARD = (5, 31)  # rounds
BOARDS = dict(questions=197, shared=True)  # of these in test
TRAINED, BEST = "as trained", "best loops"


def measure(lab):
    for name, of_model in MODELS.items():
        for norm in NORMS:
            flags = ALL | of_model | dict(norm=norm)
            if "model" in flags:
                flags.pop("loss")  # of each segment, always
            model, task, flags = lab.train(f"{name} {norm}", **flags)
            val, right = (
                lab.by_loop(model, task, HARD, flags.loops, split)[-1] for split in ("val", "test")
            )
            row = dict(model=name, norm=norm)
            yield row | dict(loops=TRAINED, right=right, on_val=val, applications=L)
            most = 4 * flags.loops if flags.tied else flags.loops
            right, loops = lab.best(model, task, HARD, most)
            yield row | dict(loops=BEST, right=right, applications=loops * L / flags.loops)


def judge(table):
    chosen = {name: table.liked("norm", model=name) for name in MODELS}
    right = {name: table.values("right", loops=TRAINED, **chosen[name]) for name in MODELS}
    parts = []
    for worse, better in STEPS:
        learned = {name: (right[name], 0.3) for name in (worse, better)}
        name = f"{worse} -> {better} gains"
        parts.append(more(name, right[better], right[worse], learned=learned, **BOARDS))
    for worse, better in LATER:
        parts.append(untested(f"{worse} -> {better} gains", "3,200 steps"))
    ours = []
    for name in MODELS:
        for norm in NORMS:
            ours.append(f"{name}, {norm}-norm {in_words_of(table, dict(model=name, norm=norm))}")
    return f"after {L} applications, and more: {'; '.join(ours)}", parts


def in_words_of(table, which):
    trained = table.said("right", loops=TRAINED, **which)
    best = table.values("right", loops=BEST, **which)
    counts = table.values("applications", loops=BEST, **which)
    solved = [count for count, right in zip(counts, best) if right > 0]  # else none is the best
    if not solved:
        return trained
    return f"{trained} ({said(best)} after {said(solved, 0)} applications)"


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    table.bars(axis, "right", group="model", kind="norm", loops=TRAINED)
    axis.set(ylabel=f"6x6 boards of {HARD[0]} rounds or more (test)", ylim=(0, 1.05))
    axis.legend(title=f"norm ({L} applications)", loc="upper left", fontsize=9)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
