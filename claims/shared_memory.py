"""
The Surprising Effectiveness of Shared Memory in Looped Transformers (Monea et al. 2026,
arXiv 2610.02383), and MELT, Memory-Efficient Looped Transformer (Conchello Vendrell et al. 2026,
arXiv 2605.07721)

The model is papers/shared_memory.py. A model that reads token by token keeps keys and values of
every loop. Is it as good if all loops share those of the first, and each keeps a window of its own?
The questions are walks along edges that stand in the text (causal_chains.py). A control is the
window alone, without the memory: where it does as well, nothing is tested. Another one is two plain
loops, which keep more. Told beside, and not judged: the first loop's memory without a window; MELT;
and the plain loop that keeps what its last loop made, for which it was not trained.

    python -m claims.shared_memory --seeds 40 41 42 43 44          5 to 6 minutes a seed on one core
"""

import torch

from analyses.cache import read_token_by_token
from claims.experiment import Claim, count_weights, mean, run_claim
from claims.parts import as_good, is_clear, more
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
    theirs="five loops, a window of 64 in 4,096 tokens: perplexity better by 1.12 to 1.82 than "
    "that of a transformer of the same size, with 76 to 79 % less memory (from its abstract)",
    falls="with a shared memory 0.05 fewer are right than with one for each loop, or not 0.02 more "
    "than with two plain loops, which keep more",
    tried="seed 0, on val (pre-norm, post-norm): plain 0.99 and 1.00, first and a window 1.00 and "
    "1.00, first 1.00 and 1.00, a window alone 0.25 and 0.03, 2 loops 0.21 and 0.19. With hops by "
    "heart and additions the window alone was enough. p-hop, up to 3 hops, 1,500 steps: plain 1.00 "
    "and 1.00, first and a window 0.39 and 0.13, a window alone 0.41 and 0.40, 2 loops 0.39 and "
    "0.94; up to 2 hops (pre-norm) 1.00, 0.99, 0.99 and 1.00",
    note="texts of 10 tokens, of which 8 are edges. The window is two tokens. All that a walk asks "
    "for stands in the edges, so what the first loop keeps is enough; in p-hop, where a letter has "
    "to know what the letters before it have found, it adds nothing to the window, and both learn "
    "more slowly than the plain loop (see what was tried). Only one paper is judged: MELT (arXiv "
    "2605.07721; 59.9 as a mean of 6 tests, its looped parent 62.3 with 4 times the memory) trains "
    "in chunks, so that it meets the memory it will have. Here its model is trained on all tokens "
    "at once, without a teacher, and asked token by token with one memory, so its numbers are only "
    "told",
)
LOOPS = 5
PLAIN, LAST = "plain", "plain with the last loop's memory"
FIRST, NEAR, ALONE = "first", "first and a window", "a window alone"
GATED, AT_ONCE = "gated", "gated and at once"
TWO = "2 loops"
WINDOW = dict(window=2)
MODELS = {
    PLAIN: dict(loops=LOOPS),
    FIRST: dict(loops=LOOPS, model="shared_memory"),
    NEAR: dict(loops=LOOPS, model="shared_memory") | WINDOW,
    ALONE: dict(loops=LOOPS, model="shared_memory", memory="none") | WINDOW,
    GATED: dict(loops=LOOPS, model="shared_memory", memory="gated"),
    TWO: dict(loops=2),
}
NAMES = (PLAIN, FIRST, NEAR, ALONE, GATED, AT_ONCE, LAST, TWO)
HOPS = 4
ALL = dict(task="causal_chains", hops=HOPS, chains=2, names=40, position="none", injection="none")
ALL |= dict(norm="pre", sampler="fixed", curriculum=False, lr=3e-3, steps=1000, eval_every=1000)


@torch.no_grad()
def right_of(lab, model, task, one_memory):
    batch = task.batch("test", 0, lab.examples, HOPS)
    if one_memory:
        logits = read_token_by_token(model, batch.tokens, LOOPS, "last")
    else:
        logits = model(batch.tokens)
    return mean(task.check(batch, logits.argmax(-1)))


def numbers_kept(model, name, length):
    """For each token, by the looped layer, in a model that reads token by token."""
    if name in (FIRST, NEAR, ALONE, GATED):
        return model.numbers_kept(length)
    loops = 1 if name == LAST else model.config.loops
    return loops * 2 * model.config.n_embd


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        length = task.batch("val", 0, 1, HOPS).tokens.shape[1]
        weights = count_weights(model)
        for reader in {PLAIN: (PLAIN, LAST), GATED: (AT_ONCE, GATED)}.get(name, (name,)):
            right = right_of(lab, model, task, one_memory=reader in (LAST, GATED))
            kept = numbers_kept(model, reader, length)
            yield dict(model=reader, right=right, kept=kept, weights=weights)


def judge(table):
    right = {name: table.values("right", model=name) for name in NAMES}
    learned = {PLAIN: (right[PLAIN], 0.9), NEAR: (right[NEAR], 0.6)}  # one of two ends is a guess
    clear = is_clear(right[NEAR], right[ALONE])
    to = dict(learned=learned, missing="" if clear else "questions that the window cannot answer")
    good, better = "as good as a memory for each loop", f"better than {TWO}"
    parts = [
        as_good(good, right[NEAR], right[PLAIN], 0.05, weak=right[ALONE], **to),
        more(better, right[NEAR], right[TWO], 0.02, **to),
    ]
    ours = table.tell(["model"], dict(right=2, kept=0))
    return f"{HOPS} edges right (numbers kept for each token): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for name, color, mark in zip(NAMES, (*COLORS, "black", "0.6"), "os^DdvPX*"):
        kept, right = (table.values(each, model=name) for each in ("kept", "right"))
        axis.plot(kept, right, mark, color=color, label=name)
    axis.set(xlabel="numbers kept for each token", ylabel=f"{HOPS} edges right (test)")
    axis.set_ylim(-0.03, 1.03)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
