"""
Coconut: Reasoning in a Continuous Latent Space (Hao et al. 2024, arXiv 2412.06769)

The model is papers/coconut.py, and the task, reach.py, is to say which of two nodes of a graph can
be reached. The control writes its steps. Told beside, and not judged: learned vectors in the place
of thoughts (pauses, Goyal et al. 2024), and these with loops. Could a thought hold several places
at once, and search several branches side by side? notebooks/4_papers looks whether it does.

Of the two nodes the likelier one counts. So who chooses the first step blindly, and makes no other
mistake, is right on 0.75 of the questions: on half of them by the way, on a quarter by chance.

    python -m claims.coconut --seeds 40 41 42 43 44          4 to 5 minutes a seed on one core
"""

import torch

from claims.experiment import Claim, mean, run_claim
from claims.parts import more, reaches
from claims.rows import said
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="coconut",
    title="Coconut, reasoning in a latent space (Hao et al. 2024)",
    arxiv="2412.06769",
    changes="the last state is the next input, several times in a loop",
    claim="where a step must be searched for, latent thoughts beat written steps, at the same cost",
    theirs="which of two is reachable (ProsQA): 97.0 by thoughts, 77.5 by written steps, 76.7 "
    "without either; with the same curriculum 96.6 by pauses in place of thoughts, and 95.5 with "
    "nothing in their place",
    falls="latent thoughts at three edges are not 0.05 more often right than written steps, or "
    "than a blind first step and no other mistake, 0.75",
    tried="one setting. Seeds 20 to 22, where any name could be said: thoughts 0.87, written steps "
    "0.62, pauses 0.53",
    note="a random number of written steps is replaced, theirs one more in each of several stages; "
    "steps are written from the root on, as theirs (from the node back, none has to be searched "
    "for). In the paper most is gained by the curriculum alone; pauses with it learn nothing here, "
    "not even one edge, so that what thoughts add to it is not told apart",
)
HOPS, LAYERS = 3, 2
ALL = dict(task="reach", hops=HOPS, sampler="fixed", n_core=LAYERS, position="relative", reach=8)
ALL |= dict(curriculum=False, lr=3e-3, steps=1500)
WRITTEN, LATENT, BLIND = "written steps", "latent thoughts", 0.75
MODELS = {
    "pauses": dict(model="coconut", thoughts=HOPS, feedback=False, loops=1),
    WRITTEN: dict(loops=1),
    LATENT: dict(model="coconut", thoughts=HOPS, loops=1),
    "pauses and loops": dict(model="coconut", thoughts=HOPS, feedback=False, loops=1 + HOPS),
}


@torch.no_grad()
def chosen(model, tokens):
    """Which of the two nodes that are offered, (B, 2), is the likelier answer, (B,)."""
    offered = tokens[:, 4 * HOPS + 1 : 4 * HOPS + 3]  # behind the edges and the question mark
    at_end = model(tokens)[:, -1]
    return offered.gather(1, at_end.gather(1, offered).argmax(1, keepdim=True))[:, 0]


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        cost = LAYERS * (5 * HOPS + 4) * flags["loops"]  # block applications: layers, tokens, loops
        for hops in range(1, HOPS + 1):
            batch = task.batch("test", 0, lab.examples, hops)
            wanted = batch.targets[:, -1]
            row = dict(model=name, hops=hops, cost=cost)
            tokens = batch.tokens
            if name == WRITTEN:  # of its steps only the root is given
                row |= dict(shown=mean(chosen(model, tokens) == wanted))
                tokens = model.generate(tokens[:, :-HOPS], HOPS, 1)
            yield row | dict(right=mean(chosen(model, tokens) == wanted))


def judge(table):
    ours = table.tell(["model"], dict(right=2, cost=0), hops=HOPS)
    latent, written = (table.values("right", model=name, hops=HOPS) for name in (LATENT, WRITTEN))
    shown = table.values("shown", model=WRITTEN, hops=HOPS)
    to = dict(learned={"written steps, where they are shown,": (shown, 0.9)})
    parts = [
        more("better than written steps", latent, written, 0.05, **to),
        reaches("better than a blind first step", latent, BLIND + 0.05, weak=written, **to),
    ]
    head = f"{HOPS} edges, chance 0.5, cost in block applications a question"
    told = f"written steps, where the right ones are shown, {said(shown)}"
    return f"{head}: {ours}; {told}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    table.bars(axis, "right", group="hops", kind="model")
    for line in (0.5, BLIND):
        axis.axhline(line, color="k", lw=0.8, ls=":")
    axis.set(xlabel="edges between the root and the node", ylabel="accuracy (test)", ylim=(0, 1.05))
    names = [f"{name} ({table.said('cost', 0, model=name, hops=HOPS)})" for name in MODELS]
    place = dict(loc="center left", bbox_to_anchor=(1, 0.5))
    title = f"(block applications)\ndotted: a guess, 0.5,\nand a blind first step, {BLIND}"
    axis.legend(axis.containers, names, title=title, **place)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
