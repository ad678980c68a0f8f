"""
Capo, from Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025, arXiv 2510.25741), after Physics
of Language Models 3.3: Knowledge Capacity Scaling Laws (Allen-Zhu and Li 2024, arXiv 2404.05405)

How many facts fit into a model? Tell it more random facts than it can hold, each a thousand times, and count the bits
by which it is less surprised by them than someone who knows none. In the paper that is about two bits in each parameter
of a stack. A loop uses each of its parameters several times: does it hold more? If not, what loops add is not memory.

    bits = facts * (log2 values - loss / ln 2)

What changes in the loop: nothing. k x L is k layers looped L times.

    python papers/capo.py          10 to 18 minutes a seed on one core
"""

import math
from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, median, run_paper
from torch.nn import functional as F

from figures import WIDTH, plt, seeds_text
from tasks import IGNORE, Task, stream

PAPER = Paper(
    name="capo",
    title="Capo, from Ouro (Zhu et al. 2025)",
    arxiv="2510.25741",
    changes="nothing: 1 or 2 layers looped 4 times beside the same once, and beside 4 different ones",
    claim="loops do not add to the facts that a parameter can hold",
    theirs="about 2 bits in a parameter, with 1 loop as with 4 (models of 1M to 40M)",
    note="4,096 facts, names of two letters instead of written biographies; the parameters of the embedding count; "
    "each model with the better of two learning rates",
)


@dataclass
class Facts(Task):
    """
    What is known of a name? Nothing can be worked out, all has to be remembered.

        "3 17 33 -> 41"      the attribute 33 of the name 3 17 has the value 41, drawn at random; read at the attribute

    Every split asks for all facts. Difficulty: always 1.
    """

    letters: int = 32  # a name has two
    attributes: int = 4  # of each name
    values: int = 64  # that an attribute can have

    counts_steps, grows, unit = False, False, "facts"

    def __post_init__(self):
        self.vocab_size, self.block_size, self.max_difficulty = max(self.letters + self.attributes, self.values), 3, 1
        world = torch.Generator().manual_seed(stream("facts", self.seed))
        self.known = torch.randint(self.values, (self.letters, self.letters, self.attributes), generator=world)

    def question(self, generator, difficulty):
        names = torch.randint(self.letters, (len(difficulty), 2), generator=generator)
        attributes = torch.randint(self.attributes, (len(difficulty), 1), generator=generator)
        return torch.cat((names, self.letters + attributes), dim=1)

    def all(self):
        """All questions, (facts, 3)."""
        names = torch.arange(self.letters)
        return torch.cartesian_prod(names, names, self.letters + torch.arange(self.attributes))

    def answer(self, tokens):
        first, second, attribute = tokens.cpu().unbind(1)
        value = self.known[first, second, attribute - self.letters].to(tokens.device)
        return torch.stack((torch.full_like(value, IGNORE), torch.full_like(value, IGNORE), value), dim=1)

    def measure(self, tokens):
        return torch.ones(len(tokens), dtype=torch.long)

    def belongs(self, tokens, split):
        return torch.ones(len(tokens), dtype=torch.bool)


# -----------------------------------------------------------------------------
# The claim

MODELS = {
    "1x1": dict(n_core=1, loops=1),
    "1x4": dict(n_core=1, loops=4),
    "2x1": dict(n_core=2, loops=1),
    "2x4": dict(n_core=2, loops=4),
    "4x1": dict(n_core=4, loops=1),
}
RATES = (0.01, 0.02)  # with 0.003 all hold less
ALL = dict(task="capo", n_embd=8, sampler="fixed", injection="none", norm="pre", curriculum=False)
ALL |= dict(batch=1024, weight_decay=0.0, steps=4000, eval_every=2000)  # each fact a thousand times


@torch.no_grad()
def bits(model, task):
    """By how much less all facts surprise the model than someone who knows none, in bits."""
    tokens = task.all()
    targets = task.answer(tokens)[:, -1]
    loss = F.cross_entropy(model(tokens)[:, -1].float(), targets)
    return len(tokens) * (math.log2(task.values) - loss.item() / math.log(2))


def measure(lab):
    found = {}
    for label, changes in MODELS.items():
        models = [lab.train(f"{label}_{rate}", **ALL | changes, lr=rate)[:2] for rate in RATES]
        found[f"{label}, bits"] = max(bits(model, task) for model, task in models)
        found[f"{label}, parameters"] = sum(p.numel() for p in models[0][0].parameters())
        found[label] = found[f"{label}, bits"] / found[f"{label}, parameters"]
    return found


def judge(found):
    ours = [
        f"{label} {between(found, label)} ({median(found, f'{label}, bits'):,.0f} bits, "
        f"{found[0][f'{label}, parameters']:,} parameters)"
        for label in MODELS
    ]
    more = {k: median(found, f"{k}x4") / median(found, f"{k}x1") for k in (1, 2)}  # what loops add
    verdicts = {2: "reproduced", 1: "depends", 0: "not reproduced"}
    verdict = verdicts[sum(abs(times - 1) < 0.1 for times in more.values())]
    verdict += f": looped, one layer holds {more[1]:.2f} times as much, two layers {more[2]:.2f} times"
    if median(found, "4x1, bits") < 1.5 * median(found, "2x1, bits"):
        verdict = "depends: there are too few facts to tell"
    return f"bits in a parameter: {'; '.join(ours)}", verdict


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    axis.bar(range(len(MODELS)), [median(found, label) for label in MODELS], color=[COLORS["x4" in m] for m in MODELS])
    for seed in found:
        axis.plot(range(len(MODELS)), [seed[label] for label in MODELS], "k.", ms=4)
    axis.axhline(2, color="k", lw=0.8, ls=":")
    axis.set_xticks(range(len(MODELS)), [f"{m}\n{found[0][f'{m}, parameters']:,}" for m in MODELS])
    axis.set(xlabel="layers x loops, and parameters", ylabel="bits held in a parameter")
    said = " to ".join(f"{median(found, label):.2f}" for label in ("2x1", "2x4"))
    one = " to ".join(f"{median(found, label):.2f}" for label in ("1x1", "1x4"))
    figure.suptitle(f"Bits in a parameter, once to looped: one layer {one}, two {said} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
