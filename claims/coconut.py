"""
Coconut: Reasoning in a Continuous Latent Space (Hao et al. 2024, arXiv 2412.06769)

The model is papers/coconut.py, and the task, reach.py, is to say which of two nodes of a graph can
be reached. Controls: learned vectors in the place of thoughts (pauses, Goyal et al. 2024), the same
and loops, and steps that are written. Could a thought hold several places at once, and search
several branches side by side? notebooks/4_papers looks whether it does.

    python -m claims.coconut          4 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import more
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="coconut",
    title="Coconut, reasoning in a latent space (Hao et al. 2024)",
    arxiv="2412.06769",
    changes="the last state is the next input, several times in a loop",
    claim="where a step must be searched for, latent thoughts beat written steps, at the same cost",
    theirs="which of two is reachable (ProsQA): 97.0 by thoughts, 77.5 by written steps, 76.7 "
    "without either",
    falls="latent thoughts at three edges are not 0.05 more often right than written steps, or "
    "than pauses",
    tried="one setting",
    note="a random number of written steps is replaced, theirs one more in each of several "
    "stages; steps are written from the root on, as theirs (from the node back, none has to be "
    "searched for). Pauses have not even learned one edge, nor pauses and loops two, so their "
    "numbers say nothing of pauses",
)
HOPS, LAYERS = 3, 2
ALL = dict(task="reach", hops=HOPS, sampler="fixed", n_core=LAYERS, position="relative", reach=8)
ALL |= dict(curriculum=False, lr=3e-3, steps=1500)
MODELS = {
    "pauses": dict(model="coconut", thoughts=HOPS, feedback=False, loops=1),
    "written steps": dict(loops=1),
    "latent thoughts": dict(model="coconut", thoughts=HOPS, loops=1),
    "pauses and loops": dict(model="coconut", thoughts=HOPS, feedback=False, loops=1 + HOPS),
}


def write(model, batch, steps):
    """Predictions (B, T) of a model that writes its steps itself."""
    return model.generate(batch.tokens[:, :-steps], steps + 1, 1)[:, 1:]


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        cost = LAYERS * (5 * HOPS + 4) * flags["loops"]  # block applications: layers, tokens, loops
        for hops in range(1, HOPS + 1):
            batch = task.batch("test", 0, lab.examples, hops)
            written = name == "written steps"
            said = write(model, batch, HOPS) if written else model(batch.tokens).argmax(-1)
            right = task.check(batch, said).float().mean().item()
            yield dict(model=name, hops=hops, right=right, cost=cost)


def judge(table):
    ours = table.tell(["model"], dict(right=2, cost=0), hops=HOPS)
    latent = table.values("right", model="latent thoughts", hops=HOPS)
    parts = []
    for name in ("written steps", "pauses"):
        learned = {f"{name}, one edge,": (table.values("right", model=name, hops=1), 0.9)}
        right = table.values("right", model=name, hops=HOPS)
        parts.append(more(f"better than {name}", latent, right, 0.05, learned=learned))
    return f"{HOPS} edges, chance 0.5, cost in block applications a question: {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    table.bars(axis, "right", group="hops", kind="model")
    axis.axhline(0.5, color="k", lw=0.8, ls=":")  # chance
    axis.set(xlabel="edges between the root and the node", ylabel="accuracy (test)", ylim=(0, 1.05))
    names = [f"{name} ({table.said('cost', 0, model=name, hops=HOPS)})" for name in MODELS]
    place = dict(loc="center left", bbox_to_anchor=(1, 0.5))
    axis.legend(axis.containers, names, title="(block applications)", **place)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
