"""
ELT: Elastic Looped Transformers (Goyal et al. 2026, arXiv 2604.09168)

A model that is only ever asked after L loops may say anything before. So, each time, an earlier loop is drawn and
learns, too (intra-loop self-distillation): at first from the truth, later from what the last loop says, for which the
last loop does not pay: loss = L(last) + lambda L(earlier) + (1 - lambda) L(earlier to imitate last), with lambda from 1
to 0 over the training. It costs one more readout. Then any loop should be a usable exit.

What changes in the loop: nothing; the loss reads two states.

    python papers/elastic.py          5 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, median, run_paper
from torch.nn import functional as F

from checks import loop_counts
from figures import WIDTH, plt, seeds_text
from looped import IGNORE, Config, LoopedGPT

PAPER = Paper(
    name="elastic",
    title="ELT: Elastic Looped Transformers (Goyal et al. 2026)",
    arxiv="2604.09168",
    changes="a random earlier loop learns from the truth, later from the last loop",
    claim="any loop is a usable exit; trained for the last loop alone, the others are not",
    theirs='ImageNet, video: one model for every budget; without it quality "degrades sharply" at other loop counts',
    note="hops through learnt facts instead of images; beside it two ways to train all exits from the truth alone",
)


@dataclass
class ElasticConfig(Config):
    earliest: int = 1  # loops of the earliest exit that is trained
    fade: int = 2500  # training steps until the last loop has replaced the truth, as --steps; 0: it never does


class Elastic(LoopedGPT):
    config_class = ElasticConfig

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))  # so a resumed run knows how far lambda is

    def loss(self, tokens, targets, loops=None):
        counts, asked = loop_counts(loops, self.config, len(tokens)), targets != IGNORE
        low = self.config.earliest
        earlier = low + (torch.rand(len(counts)) * (counts - low).clamp(min=1)).long()  # low .. count - 1
        states = self.trajectory(tokens, counts.max())  # (loops + 1, B, T, C)
        rows = torch.arange(len(tokens))
        teacher, prediction = self.token_losses(states[counts, rows], targets)
        student = self.readout(states[earlier.minimum(counts), rows], asked).float()
        with torch.no_grad():
            said = self.readout(states[counts, rows], asked).float().softmax(-1)
        share = max(0.0, 1 - self.calls.item() / self.config.fade) if self.config.fade else 1.0  # lambda
        if self.training:
            self.calls += 1
        losses = teacher + share * F.cross_entropy(student, targets[asked], reduction="none")
        losses = losses + (1 - share) * F.cross_entropy(student, said, reduction="none")
        return losses.sum() / max(1, len(losses)), prediction


# -----------------------------------------------------------------------------
# The claim

L, HOPS = 8, 6
WALK = [min(loop, HOPS) / HOPS for loop in range(1, 2 * L + 1)]  # how right one hop a loop is, after each loop
MODELS = {
    "last loop alone": dict(),
    "elastic": dict(model="elastic"),
    "elastic without a teacher": dict(model="elastic", fade=0),
    "mean of all loops": dict(loss="every"),
}


def measure(lab):
    found = {}
    for name, changes in MODELS.items():
        flags = dict(task="multihop", hops=HOPS, sampler="fixed", loops=L, **changes)
        model, task, _ = lab.train(name.replace(" ", "_"), **flags)
        right = lab.by_loop(model, task, None, 2 * L)  # of the mixture of 1 to 6 hops
        found[name], found[f"{name}, last"] = right, right[L - 1]
        found[f"{name}, earlier"] = sum(right[: L - 1]) / (L - 1)
        found[f"{name}, later"] = sum(right[L:]) / L
    return found


def judge(found):
    plain, elastic = ([median(found, f"{name}, {at}") for at in ("earlier", "last")] for name in list(MODELS)[:2])
    better = elastic[0] >= plain[0] + 0.1 and elastic[1] >= plain[1] - 0.02
    walk = sum(WALK[: L - 1]) / (L - 1)
    verdict = "reproduced" if plain[0] < walk - 0.1 else "depends: the others answer what can be walked by then, too"
    ours = [
        " / ".join(between(found, f"{name}, {at}") for at in ("earlier", "last", "later")) + f" {name}"
        for name in MODELS
    ]
    ours = f"mean over loops 1 to {L - 1} / after {L} / mean over {L + 1} to {2 * L}: {'; '.join(ours)}; "
    return f"{ours}a walk of one hop a loop would have {walk:.2f} before", verdict if better else "not reproduced"


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    loops = range(1, 2 * L + 1)
    for name, color in zip(MODELS, COLORS):
        columns = list(zip(*[seed[name] for seed in found]))  # of each loop, the seeds
        axis.plot(loops, [sorted(column)[len(column) // 2] for column in columns], color=color, label=name)
        axis.plot(loops, columns, ".", color=color)
    axis.axvline(L, color="k", lw=0.8, ls=":")
    axis.set(xlabel=f"loops at the exit (trained: {L})", ylabel="accuracy (test, 1 to 6 hops)", ylim=(0, 1.05))
    axis.plot(loops, WALK, color="k", lw=0.8, ls="--", label="a walk of one hop a loop")
    axis.legend(title="what learns to answer", loc="lower right")
    plain, elastic = (median(found, f"{name}, earlier") for name in list(MODELS)[:2])
    said = f"Mean accuracy of the exits before loop {L}: {elastic:.2f} elastic, {plain:.2f} trained for loop {L} alone"
    figure.suptitle(f"{said} ({seeds_text(len(found))})", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
