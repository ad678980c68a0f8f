"""
The Surprising Effectiveness of Shared Memory in Looped Transformers (Monea et al. 2026,
arXiv 2610.02383), and MELT, Memory-Efficient Looped Transformer (Conchello Vendrell et al. 2026,
arXiv 2605.07721)

The model is papers/shared_memory.py. A model that reads token by token keeps keys and values of
every loop. Is it as good if all loops share those of the first, and each keeps a window of its own?
The questions are p-hop: a letter of the text leads to another one, anywhere before it, and so on. A
control is the window alone, without the memory: where it does as well, nothing is tested. Another
keeps a little more, in two plain loops. Told beside, and not judged: the first loop's memory
without a window, MELT, and the plain loop that keeps what its last loop made, for which it was not
trained.

    python -m claims.shared_memory          6 to 8 minutes a seed on one core
"""

import numpy as np
import torch

from analyses.cache import read_token_by_token
from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="shared_memory",
    title="The Surprising Effectiveness of Shared Memory in Looped Transformers (Monea et al. "
    "2026)",
    arxiv="2610.02383",
    changes="all loops share one set of keys and values: the first loop's, or a gated one",
    claim="a loop whose loops share the first one's keys and values, and keep a window of their "
    "own, is as good as one that keeps those of each loop",
    theirs="five loops, a window of 64 in 4,096 tokens: better than with 4.7 times the memory",
    falls="with a shared memory 0.05 fewer are right than with one for each loop, or no more than "
    "with two plain loops, which keep a little more",
    tried="with hops by heart and additions the window alone was enough. p-hop, seed 0, on val, "
    "1,500 steps (pre-norm, post-norm): plain 1.00 and 1.00, first and a window 0.39 and 0.13, a "
    "window alone 0.41 and 0.40, 2 loops 0.39 and 0.94; with 3,000 steps first and a window 0.63 "
    "and 0.52",
    note="texts of 37 tokens. The window is what one step needs: two tokens. Only one paper is "
    "judged: MELT (arXiv 2605.07721; 59.9 as a mean of 6 tests, its looped parent 62.3 with 4 "
    "times the memory) trains in chunks, so that it meets the memory it will have. Here its model "
    "is trained on all tokens at once, without a teacher, and asked token by token with one "
    "memory, so its numbers are only told. Both norms for each model, chosen on val",
)
LOOPS = 5
PLAIN, LAST = "plain", "plain with the last loop's memory"
FIRST, NEAR, ALONE = "first", "first and a window", "a window alone"
GATED, AT_ONCE = "gated", "gated and at once"
ONE, TWO = "1 loop", "2 loops"
WINDOW = dict(window=2)
MODELS = {
    PLAIN: dict(loops=LOOPS),
    FIRST: dict(loops=LOOPS, model="shared_memory"),
    NEAR: dict(loops=LOOPS, model="shared_memory") | WINDOW,
    ALONE: dict(loops=LOOPS, model="shared_memory", memory="none") | WINDOW,
    GATED: dict(loops=LOOPS, model="shared_memory", memory="gated"),
    ONE: dict(loops=1),
    TWO: dict(loops=2),
}
NAMES = (PLAIN, FIRST, NEAR, ALONE, GATED, AT_ONCE, LAST, ONE, TWO)
NORMS = ("pre", "post")
HOPS = 3
ALL = dict(task="phop", hops=HOPS, sampler="fixed", steps=1500, eval_every=1500)


@torch.no_grad()
def right_of(lab, model, task, split, one_memory):
    batch = task.batch(split, 0, lab.examples, HOPS)
    if one_memory:
        logits = read_token_by_token(model, batch.tokens, LOOPS, "last")
    else:
        logits = model(batch.tokens)
    return task.check(batch, logits.argmax(-1)).float().mean().item()


def numbers_kept(model, name, length):
    """For each token, by the looped layer, in a model that reads token by token."""
    if name in (FIRST, NEAR, ALONE, GATED):
        return model.numbers_kept(length)
    loops = 1 if name == LAST else model.config.loops
    return loops * 2 * model.config.n_embd


def measure(lab):
    for name, flags in MODELS.items():
        for norm in NORMS:
            model, task, _ = lab.train(f"{name} {norm}", **ALL | flags | dict(norm=norm))
            length = task.batch("val", 0, 1, HOPS).tokens.shape[1]
            weights = sum(p.numel() for p in model.parameters())
            for reader in {PLAIN: (PLAIN, LAST), GATED: (AT_ONCE, GATED)}.get(name, (name,)):
                ask = (lab, model, task)
                one = reader in (LAST, GATED)
                yield dict(
                    model=reader,
                    norm=norm,
                    on_val=right_of(*ask, "val", one),
                    right=right_of(*ask, "test", one),
                    kept=numbers_kept(model, reader, length),
                    weights=weights,
                )


def better_norms(table):
    """The rows of the norm with which a model is best on val."""
    return table.only([table.liked("norm", model=name) for name in NAMES])


def judge(table):
    table = better_norms(table)
    right = {name: table.values("right", model=name) for name in NAMES}
    learned = {name: {name: (right[name], 0.7)} for name in (PLAIN, NEAR)}
    weak = np.maximum(right[ONE], right[ALONE])  # the window does not do it alone
    good, better = "as good as a memory for each loop", f"better than {TWO}"
    parts = [
        as_good(good, right[NEAR], right[PLAIN], 0.05, weak=weak, learned=learned[PLAIN]),
        more(better, right[NEAR], right[TWO], 0.02, learned=learned[NEAR]),
    ]
    ours = table.tell(["model"], dict(right=2, kept=0))
    return f"{HOPS} hops right (numbers kept for each token): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    table = better_norms(table)
    for name, color, mark in zip(NAMES, (*COLORS, "black", "0.6"), "os^DdvPX*"):
        kept, right = (table.values(each, model=name) for each in ("kept", "right"))
        axis.plot(kept, right, mark, color=color, label=name)
    axis.set(xlabel="numbers kept for each token", ylabel=f"{HOPS} hops right (test)")
    axis.set_ylim(-0.03, 1.03)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
