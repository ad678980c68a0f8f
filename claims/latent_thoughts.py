"""
Reasoning with Latent Thoughts: On the Power of Looped Transformers
(Saunshi et al. 2025, arXiv 2502.17416)

Is it the parameters of a deep model that reason, or its depth? Write k x L for k layers that are
looped L times. A model of one layer, 1 x 1, cannot do what takes several steps. Looped, 1 x L has
no parameter more, and as many layers to go through as the stack L x 1, which has L times the
parameters. If depth is what counts, 1 x L does as well as L x 1; the loops are thoughts that nobody
reads. A control beside the paper's is papers/latent_thoughts.py, one layer with pauses: it spends
as much as 1 x L, and has to fail, too.

    python -m claims.latent_thoughts --seeds 40 41 42    12 to 15 minutes a seed on one core
"""

import numpy as np

from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from support.figures import WIDTH, plt

L = 4
CLAIM = Claim(
    name="latent_thoughts",
    title="Reasoning with Latent Thoughts (Saunshi et al. 2025)",
    arxiv="2502.17416",
    changes="nothing: k layers looped L times beside k, and beside k L different ones",
    claim="1 layer looped L times does what L layers do, and 1 layer does not",
    theirs="sums of 32 numbers: 1x1 0.00, 1x12 0.996, 12x1 1.00; 16 hops: 1x1 0.49, 1x6 1.00, "
    "6x1 1.00",
    falls="one layer looped 4 times is not 0.2 better than once, or 0.05 worse than four layers",
    tried="sums of 4, 6 and 8 numbers: of six 1x1 learns as much as 4x1 if it is trained for long "
    "(seed 0, val, 8,000 steps: 0.89 and 0.82), so that they do not ask for depth. Three hops at "
    "once, seed 0: 2,500 steps 4x1 1.00, 1x4 0.50; 5,000 steps at 0.002 4x1 1.00, 1x4 1.00, 1x1 "
    "0.40. With a curriculum, which asks each model for what it can do, 1x4 stops at 0.67 on one "
    "seed of three. Seeds 40 to 42: 1 layer with pauses that do not carry their token 0.41 and, "
    "of 4 edges, where they cannot know whose they are, 0.16",
    note="smaller tasks and models, and no sums; 4 loops instead of 12; a control of ours, 1 layer "
    "with pauses that carry their token, has to fail, too",
)
ONE, LOOPED, STACK, PAUSES = "1x1", f"1x{L}", f"{L}x1", "1x1 and pauses"
MODELS = {
    ONE: dict(loops=1),
    LOOPED: dict(loops=L),
    STACK: dict(loops=1, n_core=L),
    PAUSES: dict(loops=1, model="latent_thoughts", pauses=L - 1),
}
QUESTIONS = {
    "3 hops": dict(
        task="phop", hops=3, position="alibi", n_prelude=0, batch=32, lr=2e-3, steps=5000
    ),
    "4 edges": dict(task="chains", hops=4, chains=2, names=40, backprop_loops=0, steps=1000),
}
ALL = dict(injection="none", norm="pre", reembed=False, sampler="fixed", curriculum=False, ema=0.0)


def measure(lab):
    for question, of_task in QUESTIONS.items():
        for name, of_model in MODELS.items():
            model, task, _ = lab.train(f"{question} {name}", **ALL | of_task | of_model)
            right = lab.by_loop(model, task, task.max_difficulty, model.config.loops)[-1]
            yield dict(question=question, model=name, right=right)


def judge(table):
    parts = []
    for question in QUESTIONS:
        right = {name: table.values("right", question=question, model=name) for name in MODELS}
        less = max((right[ONE], right[PAUSES]), key=np.mean)
        learned = {f"the stack, {question},": (right[STACK], 0.9)}
        name = f"{question}, {LOOPED} does what {STACK} does"
        parts += [
            more(f"{question}, {ONE} does less", right[LOOPED], less, 0.2, learned=learned),
            as_good(name, right[LOOPED], right[STACK], 0.05, weak=less, learned=learned),
        ]
    return table.tell(["question", "model"], dict(right=2)), parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    table.bars(axis, "right", group="question", kind="model")
    axis.set(ylabel="accuracy (test)", ylim=(0, 1.05))
    axis.legend(title="layers x loops", loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.3))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
