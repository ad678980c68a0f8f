"""
Staircase Attention for Recurrent Processing of Sequences (Ju et al. 2021, NeurIPS 2022, arXiv 2106.04279)

Two ways to let every token pass the same layer N times. The ladder is the plain loop: N passes over the whole text, N
steps in a row, however long the text is. The staircase lets one more chunk of the text in at each step, and works on
the last N chunks, which see each other as the step before left them:

    step 0    A            step 1    A B          step 2    A B C        step 3      B C D     (N = 3; A has left)

Each token costs as much as on the ladder, but the steps are as many as chunks, and what a chunk knows goes to the next
one: a recurrence in time. So it should follow things through a text of any length, where the ladder has N steps only.

What changes in the loop: loop t works on the chunks t - N + 1 .. t alone. Loops needed: chunks + N - 1. The controls
see as far in a loop as it does: a ladder at its cost, and one with as many steps in a row, which costs more and more.

    python papers/staircase.py                9 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, median, run_paper

from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT
from tasks import IGNORE, Task

PAPER = Paper(
    name="staircase",
    title="Staircase Attention (Ju et al. 2022)",
    arxiv="2106.04279",
    changes="loop t works on a window of chunks that moves over the text",
    claim="at the same cost a token, a recurrence in time tracks what a fixed number of loops cannot",
    theirs="staircases solve tasks of tracking that transformers cannot (said; numbers not verified)",
    note="one layer; nothing is cached of the chunks that have left, the paper's plain variant. Ladders that see all "
    "of the text, 3 seeds: at its cost 0.25 [0.12, 0.29] of 24 moves; with 16 loops, always, 0.99 of 24 and 0.00 of 96",
)


@dataclass
class Places(Task):
    """
    Where is the first of five things? x swaps the first two, y moves the last to the front.

        "0 x y y" -> "1 2 3"      the answer is read at each move; tokens: 0..4, x is 5, y is 6, padding is 7

    Any permutation of five can come up, and a fixed number of layers is thought to be too few (S5). Difficulty: moves.
    """

    moves: int = 32  # the most moves in training

    unit = "moves"

    def __post_init__(self):
        self.vocab_size, self.block_size, self.max_difficulty = 8, self.moves + 1, self.moves
        self.leads = torch.tensor([[1, 0, 2, 3, 4], [1, 2, 3, 4, 0], [0, 1, 2, 3, 4]])  # x, y; padding leads nowhere

    def question(self, generator, difficulty):
        shape = (len(difficulty), max(self.moves, int(difficulty.max())) + 1)
        tokens = torch.randint(5, 7, shape, generator=generator)
        tokens[:, 0] = 0  # stands nowhere else
        return tokens.masked_fill(torch.arange(shape[1]) > difficulty[:, None], 7)

    def answer(self, tokens):
        places, leads = [tokens[:, 0]], self.leads.to(tokens.device)
        for move in tokens[:, 1:].T:
            places.append(leads[move - 5, places[-1]])
        return torch.stack(places, dim=1).masked_fill((tokens < 5) | (tokens == 7), IGNORE)

    def name(self, token):
        return "01234xy."[token]

    def measure(self, tokens):
        return ((tokens == 5) | (tokens == 6)).sum(1)

    def belongs(self, tokens, split):  # there are too few short questions to keep some apart
        return super().belongs(tokens.masked_fill(tokens == 7, 0), split) | (self.measure(tokens) < 6)


@dataclass
class StaircaseConfig(Config):
    chunk: int = 2  # tokens that enter at each step
    passes: int = 4  # of each token through the core; as many chunks are worked on at a time


class Staircase(LoopedGPT):
    config_class = StaircaseConfig

    def loop(self, h, e, t, where, cache=None):
        if cache is not None:
            raise ValueError("a staircase has no cache: a token's passes are in several loops")
        first, end = (self.config.chunk * max(0, n) for n in (t + 1 - self.config.passes, t + 1))
        if first >= h.shape[1]:  # every token has had its passes
            return h
        window = super().loop(h[:, first:end], e[:, first:end], t, self.positions(h[:, first:end]))
        return torch.cat((h[:, :first], window, h[:, end:]), dim=1)


# -----------------------------------------------------------------------------
# The claim

MOVES, CHUNK, PASSES = 24, 2, 4
ASKED = (12, 24, 48, 96)  # moves


def steps(moves):
    return -(-(moves + 1) // CHUNK) + PASSES - 1  # loops until the last chunk has had its passes


ALL = dict(task="staircase", moves=MOVES, sampler="fixed", reach=CHUNK * PASSES)
ALL |= dict(curriculum=False, lr=3e-3, eval_size=100, steps=1500)
MODELS = {  # with a window of CHUNK * PASSES tokens a ladder sees in a loop what the staircase sees
    "ladder": dict(position="window", loops=PASSES),
    "staircase": dict(model="staircase", position="relative", chunk=CHUNK, passes=PASSES, loops=steps(MOVES)),
    "long ladder": dict(position="window", sampler="poisson", loops=steps(MOVES)),  # as many steps in a row, on average
}


def measure(lab):
    found = {}
    for label, changes in MODELS.items():
        model, task, _ = lab.train(label.replace(" ", "_"), **ALL | changes)
        for moves in ASKED:
            loops = PASSES if label == "ladder" else steps(moves)
            found[f"{moves}, {label}"] = lab.by_loop(model, task, moves, loops)[-1]
    return found


def judge(found):
    ours = [f"{label} {' / '.join(between(found, f'{moves}, {label}') for moves in ASKED)}" for label in MODELS]
    ladder, staircase = (median(found, f"{MOVES}, {label}") for label in ("ladder", "staircase"))
    far = [median(found, f"{ASKED[-1]}, {label}") for label in ("staircase", "long ladder")]
    verdict = "reproduced" if staircase > max(0.9, ladder + 0.3) else "not reproduced"
    if min(far) > 0.9:
        verdict += f"; a ladder of as many steps does it, too, at {steps(ASKED[-1]) // PASSES} times the cost"
    return f"right at every move of {' / '.join(map(str, ASKED))}: {'; '.join(ours)}", verdict


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    costs = (PASSES, PASSES, f"{steps(ASKED[0])} to {steps(ASKED[-1])}")
    for label, cost, color in zip(MODELS, costs, COLORS[1:]):
        names = [f"{moves}, {label}" for moves in ASKED]
        style = "--" if label == "long ladder" else "-"  # it lies upon the staircase
        words = f"{label}, {cost} passes a token"
        axis.plot(ASKED, [median(found, name) for name in names], style, color=color, label=words)
        axis.plot(ASKED, [[seed[name] for seed in found] for name in names], ".", color=color)
    axis.axvline(MOVES, color="black", ls=":", label="longest in training")
    axis.set(xlabel="moves", ylabel="right at every move (test)", xscale="log", ylim=(-0.03, 1.05))
    axis.set_xticks(ASKED, ASKED)
    axis.minorticks_off()
    axis.legend(fontsize=9)
    ladder, staircase = (median(found, f"{MOVES}, {label}") for label in ("ladder", "staircase"))
    figure.suptitle(f"{MOVES} moves: staircase {staircase:.2f}, ladder at its cost {ladder:.2f} ({seeds_text(found)})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
