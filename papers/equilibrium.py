"""
Equilibrium Reasoners: Learning Attractors Enables Scalable Reasoning (Huang, Geng, Kolter 2026, arXiv 2605.21488)

A loop should come to rest at the solution of a Sudoku, wherever it started. Two things in training widen the basin of
that resting place: every start is noise, and every step is damped and shaken, h <- (1 - l) h + l f(h) + noise. Then
there are two ways to think more: longer, or again from another start. A loop that went astray does not come to rest:
of all starts, take the answer of the one that moves the least. No solution is looked at for that.

What changes in the loop: the start (`state_init="noise"`), and the step.

    python papers/equilibrium.py          9 minutes a seed on one core
"""

from collections import deque
from dataclasses import dataclass

import torch
from experiment import Paper, between, in_parts, median, run_paper

from analyses.solve import filled, moved
from figures import BLUE, GREEN, GREY, ORANGE, WIDTH, plt, seeds_text
from looped import Config, LoopedGPT
from tasks import stream

PAPER = Paper(
    name="equilibrium",
    title="Equilibrium Reasoners (Huang et al. 2026)",
    arxiv="2605.21488",
    changes="starts from noise; a step goes 0.95 of the way and is shaken",
    claim="more loops solve more boards, and more starts still more, of which the one that comes to rest is taken",
    theirs="9x9: 0.86 after 16 segments of several loops, 0.93 after 64, 0.998 after 64 from 128 starts",
    note="6x6 boards that need search; one state and a loss at every loop, no tiny recursive model; a residual is of a "
    "step with its shake. One start of the plain loop is its embedding in the first curve, else noise it never saw",
)


@dataclass
class EquilibriumConfig(Config):
    state_init: str = "noise"  # anew for each question, in training and later
    damping: float = 0.05  # how much of the old state a step keeps, 1 - l
    noise: float = 0.01  # deviation of what shakes each step

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.damping < 1 or self.noise < 0:
            raise ValueError(f"damping={self.damping} must be 0..1 without 1, and noise={self.noise} not negative")


class Equilibrium(LoopedGPT):
    config_class = EquilibriumConfig

    def loop(self, h, e, t, where, cache=None):
        keep = self.config.damping
        h = keep * h + (1 - keep) * super().loop(h, e, t, where, cache)
        return h + self.config.noise * torch.randn_like(h)


@torch.no_grad()
def restart(model, tokens, loops, starts):
    """For each start from noise the boards (starts, N, cells), and how far their last three loops moved (starts, N)."""
    boards, movement = [], []
    for _ in range(starts):
        noise = torch.randn(*tokens.shape, model.config.n_embd)
        states = list(deque(model.states(tokens, loops, h=noise), maxlen=4))
        boards.append(filled(tokens, model.readout(states[-1])))
        movement.append(sum(moved(before, h) for before, h in zip(states, states[1:])))
    return torch.stack(boards), torch.stack(movement)


def choices(task, boards, movement, size):
    """
    The starts in groups of `size`: the share of the boards (starts, N, cells) that are right if each group gives the
    answer that stands stillest, or the most frequent one; and if an oracle chooses.
    """
    right = task.solved(boards.flatten(0, 1)).float().view(-1, size, boards.shape[1])  # (groups, size, N)
    boards = boards.view(-1, size, *boards.shape[1:])
    agree = (boards[:, :, None] == boards[:, None]).all(-1).sum(2)  # how many of the group say the same
    chosen = dict(stillest=movement.view_as(right).argmin(1), vote=agree.argmax(1))
    shares = {name: right.gather(1, rows[:, None]).mean().item() for name, rows in chosen.items()}
    return shares | dict(oracle=right.amax(1).mean().item())


# -----------------------------------------------------------------------------
# The claim

L, DEEP, STARTS = 12, 48, (1, 2, 4, 8)  # loops in training, and of each start in the test
LONG = [L, 2 * L, DEEP, *(DEEP * starts for starts in STARTS[1:])]  # loops of a single start
HARD = 32  # rounds: the name of boards that singles do not solve (62 in test, drawn in other digits and orders)
TRAINING = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", sampler="fixed", loops=L)
TRAINING.update(loss="every", curriculum=False, n_embd=48, batch=32, lr=3e-3, steps=2000)
KINDS, MOST = {"equilibrium": dict(model="equilibrium"), "plain loop": {}}, f"{STARTS[-1]} starts"
ASKED = (f"{L} loops", f"{DEEP} loops", f"{max(LONG)} loops", "1 starts, vote", f"{MOST}, vote", f"{MOST}, stillest")


def measure(lab):
    found = {}
    for kind, flags in KINDS.items():
        model, task, _ = lab.train(kind.replace(" ", "_"), **TRAINING | flags)
        torch.manual_seed(stream(lab.seed, "starts"))
        by_loop = lab.by_loop(model, task, HARD, max(LONG))
        found.update({f"{kind}, {loops} loops": by_loop[loops - 1] for loops in LONG})
        boards, movement = restart(model, task.batch("test", 0, lab.examples, HARD).tokens, DEEP, STARTS[-1])
        for starts in STARTS:
            for name, share in choices(task, boards, movement, starts).items():
                found[f"{kind}, {starts} starts, {name}"] = share
    return found


def checks(found, kind):
    short, deep, long, one, vote, stillest = (median(found, f"{kind}, {name}") for name in ASKED)
    return {
        f"{DEEP} loops solve more than {L}": deep > short + 0.02,
        f"{MOST} solve more than one": stillest > one + 0.02,
        "more than one start with as many loops in all": stillest > long + 0.02,
        "rest chooses no worse than a vote": stillest > vote - 0.01,
    }


def judge(found):
    shown, plain = (checks(found, kind) for kind in KINDS)
    verdict = in_parts(shown, needed=2)
    if verdict == "reproduced" and all(plain.values()):
        verdict = "depends: it holds, and for the plain loop as well"
    said = (f"{kind}: " + ", ".join(f"{name} {between(found, f'{kind}, {name}')}" for name in ASKED) for kind in KINDS)
    return "; ".join(said), verdict


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    for axis, kind in zip(axes, KINDS):
        curves = [("one start, longer", GREEN, LONG, [f"{loops} loops" for loops in LONG])]
        for name, color in {"oracle": GREY, "vote": ORANGE, "stillest": BLUE}.items():
            names = [f"{n} starts, {name}" for n in STARTS]
            curves.append((f"{name} of 1..{MOST} of {DEEP} loops", color, [DEEP * n for n in STARTS], names))
        for label, color, loops, names in curves:
            axis.plot(loops, [median(found, f"{kind}, {name}") for name in names], color=color, label=label)
            for seed in found:
                axis.plot(loops, [seed[f"{kind}, {name}"] for name in names], ".", color=color, ms=5)
        axis.set(title=kind, xlabel="loops in all", xscale="log", xticks=LONG, xticklabels=LONG)
        axis.minorticks_off()
    axes[0].set(ylabel="6x6 boards right (test)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    one, deep, wide = (between(found, f"equilibrium, {name}") for name in (*ASKED[:2], ASKED[-1]))
    title = f"Boards that need search: {one} right after {L} loops, {deep} after {DEEP},"
    figure.suptitle(f"{title}\n{wide} from {MOST} of {DEEP} loops ({seeds_text(len(found))})", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
