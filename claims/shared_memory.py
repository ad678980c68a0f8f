"""
The Surprising Effectiveness of Shared Memory in Looped Transformers (Monea et al. 2026,
arXiv 2610.02383), and MELT, Memory-Efficient Looped Transformer (Conchello Vendrell et al. 2026,
arXiv 2605.07721)

The model is papers/shared_memory.py. A model that reads token by token keeps keys and values of
every loop. Is it as good if all loops share those of the first, and each keeps a window of its own?
A control is the window alone, without the memory: where it does as well, nothing is tested. Another
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
    tried="seed 0, width 32, 4 loops, 550 steps. Multi-hop, 12 entities, 2 hops and 3: plain 0.44 "
    "and 0.58, first 0.26 and 0.11, with a window of 1 0.78 and 0.62, gated and at once 0.38 and "
    "0.25, one loop 0.32 and 0.30. Addition of 4 digits was learned by none (plain 0.60); alibi "
    "and a wider reach were slower",
    note="questions of 14 and 5 tokens. The window is what one step needs: 2 tokens, a place of "
    "the sum, or 1, a hop. Only one paper is judged: MELT (arXiv 2605.07721; 59.9 as a mean of 6 "
    "tests, its looped parent 62.3 with 4 times the memory) trains in chunks, so that it meets the "
    "memory it will have. Here its model is trained on all tokens at once, without a teacher, and "
    "asked token by token with one memory, so its numbers are only told. Both norms for each "
    "model, chosen on val",
)
LOOPS = 5
PLAIN, LAST = "plain", "plain with the last loop's memory"
FIRST, NEAR, ALONE = "first", "first and a window", "a window alone"
GATED, AT_ONCE = "gated", "gated and at once"
ONE, TWO = "1 loop", "2 loops"
WINDOW = {"addition": 2, "multi-hop": 1}
MODELS = {
    PLAIN: dict(loops=LOOPS),
    FIRST: dict(loops=LOOPS, model="shared_memory"),
    NEAR: dict(loops=LOOPS, model="shared_memory"),  # and its window
    ALONE: dict(loops=LOOPS, model="shared_memory", memory="none"),
    GATED: dict(loops=LOOPS, model="shared_memory", memory="gated"),
    ONE: dict(loops=1),
    TWO: dict(loops=2),
}
NAMES = (PLAIN, FIRST, NEAR, ALONE, GATED, AT_ONCE, LAST, ONE, TWO)
NORMS = ("pre", "post")
ALL = dict(n_prelude=1, sampler="fixed", position="rope", lr=3e-3)
TASKS = {
    "addition": dict(task="addition", digits=6, curriculum=False, batch=32, steps=1500),
    "multi-hop": dict(task="multihop", hops=4, curriculum=False, steps=1500),
}
ASKED = {"addition": None, "multi-hop": 4}  # sums of all kinds, and the most hops


@torch.no_grad()
def right_of(lab, model, task, kind, split, one_memory):
    batch = task.batch(split, 0, lab.examples, ASKED[kind])
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
    for kind, of_task in TASKS.items():
        for name, of_model in MODELS.items():
            for norm in NORMS:
                flags = ALL | of_task | of_model | dict(norm=norm, eval_every=of_task["steps"])
                if name in (NEAR, ALONE):
                    flags |= dict(window=WINDOW[kind])
                model, task, _ = lab.train(f"{kind} {name} {norm}", **flags)
                length = task.batch("val", 0, 1, ASKED[kind]).tokens.shape[1]
                weights = sum(p.numel() for p in model.parameters())
                readers = {PLAIN: (PLAIN, LAST), GATED: (AT_ONCE, GATED)}.get(name, (name,))
                for reader in readers:
                    ask = (lab, model, task, kind)
                    one = reader in (LAST, GATED)
                    yield dict(
                        task=kind,
                        model=reader,
                        norm=norm,
                        on_val=right_of(*ask, "val", one),
                        right=right_of(*ask, "test", one),
                        kept=numbers_kept(model, reader, length),
                        weights=weights,
                    )


def better_norms(table):
    """The rows of the norm with which a model is best on val, for each task."""
    return table.only(
        [table.liked("norm", task=kind, model=name) for kind in TASKS for name in NAMES]
    )


def judge(table):
    table = better_norms(table)
    parts = []
    for kind in TASKS:
        right = {name: table.values("right", task=kind, model=name) for name in NAMES}
        learned = {name: {f"{kind}, {name},": (right[name], 0.7)} for name in (PLAIN, NEAR)}
        weak = np.maximum(right[ONE], right[ALONE])  # the window does not do it alone
        part = f"{kind}, as good as a memory for each loop"
        to = dict(weak=weak, learned=learned[PLAIN])
        parts.append(as_good(part, right[NEAR], right[PLAIN], 0.05, **to))
        part = f"{kind}, better than {TWO}"
        parts.append(more(part, right[NEAR], right[TWO], 0.02, learned=learned[NEAR]))
    ours = table.tell(["task", "model"], dict(right=2, kept=0))
    return f"right (numbers kept for each token): {ours}", parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.5), sharey=True, layout="constrained")
    table = better_norms(table)
    for axis, kind in zip(axes, TASKS):
        for name, color, mark in zip(NAMES, (*COLORS, "black", "0.6"), "os^DdvPX*"):
            kept, right = (table.values(each, task=kind, model=name) for each in ("kept", "right"))
            axis.plot(kept, right, mark, color=color, label=name)
        axis.set(title=kind, xlabel="numbers kept for each token")
    axes[0].set(ylabel="right (test)", ylim=(-0.03, 1.03))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
