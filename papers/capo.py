"""
Capo, from Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025, arXiv 2510.25741), after Physics
of Language Models 3.3: Knowledge Capacity Scaling Laws (Allen-Zhu and Li 2024, arXiv 2404.05405)

How many facts fit into a model? Tell it more random facts than it can hold, each a thousand times, and count the bits
by which it is less surprised by them than someone who knows none. A stack holds about two bits in each parameter. A
loop has more to do with each of its parameters: does it hold more? If not, loops are for thinking, not for remembering.

    bits = facts * (log2 values - loss / ln 2)

What changes in the loop: nothing. k x L is k layers looped L times.

    python papers/capo.py          8 minutes a seed on one core
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
    changes="nothing: 2 layers looped 4 times beside 2, and beside 4 different ones",
    claim="loops do not add to the facts that a parameter can hold",
    theirs="about 2 bits in a parameter, with 1 loop as with 4 (models of 1M to 40M)",
    note="4,096 facts, names of two letters instead of written biographies; the embedding counts. One layer is too "
    "shallow for its parameters: looped 4 times it holds a fifth more than once (seed 0: 2.34 and 1.88 bits)",
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

WIDTHS = (8, 12)
MODELS = {"2x1": dict(loops=1), "2x4": dict(loops=4), "4x1": dict(loops=2, tied=False)}
ALL = dict(task="capo", n_core=2, sampler="fixed", injection="none", norm="pre", curriculum=False)
ALL |= dict(batch=1024, lr=1e-2, weight_decay=0.0, steps=4000, eval_every=1000)  # each fact a thousand times


@torch.no_grad()
def bits(model, task):
    """By how much less all facts surprise the model than someone who knows none, in bits."""
    tokens = task.all()
    targets = task.answer(tokens)[:, -1]
    loss = F.cross_entropy(model(tokens)[:, -1].float(), targets)
    return len(tokens) * (math.log2(task.values) - loss.item() / math.log(2))


def measure(lab):
    found = {}
    for width in WIDTHS:
        for label, changes in MODELS.items():
            model, task, _ = lab.train(f"{label}_{width}", **ALL | changes, n_embd=width)
            found[f"bits, {label}, {width}"] = bits(model, task)
            found[f"parameters, {label}, {width}"] = sum(p.numel() for p in model.parameters())
            found[f"{width}, {label}"] = found[f"bits, {label}, {width}"] / found[f"parameters, {label}, {width}"]
    return found


def judge(found):
    ours, equal, more = [], True, True
    for width in WIDTHS:
        once, looped, _ = (median(found, f"{width}, {label}") for label in MODELS)
        few, _, many = (median(found, f"bits, {label}, {width}") for label in MODELS)
        equal, more = equal and looped < 1.1 * once, more and many > 1.5 * few  # else there were too few facts to tell
        held = (f"{label} {between(found, f'{width}, {label}')} ({sizes(found, label, width)})" for label in MODELS)
        ours.append(f"width {width}: {', '.join(held)}")
    verdict = "reproduced" if equal and more else "not reproduced"
    return f"bits in a parameter (bits / parameters): {'; '.join(ours)}", verdict


def sizes(found, label, width):
    return " / ".join(f"{median(found, f'{what}, {label}, {width}'):,.0f}" for what in ("bits", "parameters"))


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
    for label, color, marker in zip(MODELS, COLORS, "osv"):
        x, y = ([seed[f"{what}, {label}, {w}"] for w in WIDTHS for seed in found] for what in ("parameters", "bits"))
        axis.plot(x, y, marker, color=color, label=label, alpha=0.8)
    most = max(median(found, f"parameters, {label}, {WIDTHS[-1]}") for label in MODELS)
    axis.plot([0, most], [0, 2 * most], color="k", lw=0.8, ls=":", label="2 bits in a parameter")
    axis.set(xlabel="parameters", ylabel="bits held (of 24,576)", xlim=(0, None), ylim=(0, None))
    axis.legend(title="layers x loops")
    once, looped = (median(found, f"{WIDTHS[-1]}, {label}") for label in ("2x1", "2x4"))
    said = f"Bits in a parameter: {once:.2f} with two layers, {looped:.2f} looped four times"
    figure.suptitle(f"{said} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
