"""
End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022, arXiv 2202.05826)

A net that learns a rule on short questions should answer long ones if it thinks longer. Two things are in the way. It
forgets the question: *recall* shows it in every loop (`injection`). And it counts its loops, "after the 20th I answer":
the *progressive loss* lets it think for n loops, cuts the gradient off, and asks for the answer k loops later, n and k
by chance. So a loop has to bring any state nearer to the answer, and to leave the answer alone once it is there. Else
more loops spoil it: overthinking.

What changes: the loss. (1 - alpha) times the loss after all m loops, alpha times the one after n + k of them.

    python papers/deep_thinking.py          5 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, median, run_paper

from checks import loop_counts
from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT
from tasks import IGNORE, Task

PAPER = Paper(
    name="deep_thinking",
    title="End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022)",
    arxiv="2202.05826",
    changes="the loss: it also starts in the middle of the thought, without a gradient to what came before",
    claim="a net with recall and the progressive loss, trained on short strings, is right on long ones, and stays so",
    theirs="prefix sums, trained on 32 bits with 30 loops: 512 bits 1.00 after 500 loops",
    note="a transformer that sees its neighbours in place of a convolution; 12 bits, 4 times as many in the test",
)


@dataclass
class PrefixSums(Task):
    """
    How many ones so far, odd or even?

        "> 0 1 1 0 1 -> . 0 1 0 0 1"      the parity of each prefix, read at its last bit

    Tokens: bits, and a ">" in front, so that a bit can know that it is the first. Difficulty: bits; training asks for
    long strings only, as a shorter one is the beginning of a longer one.
    """

    bits: int = 12  # of a string in training

    unit = "bits"

    def __post_init__(self):
        self.max_difficulty, self.vocab_size, self.block_size = self.bits, 3, self.bits + 1

    def mixture(self, generator, size, low, high):
        return torch.full((size,), high)

    def difficulties(self, split):
        return [self.bits]

    def question(self, generator, difficulty):
        bits = torch.randint(2, (len(difficulty), int(difficulty.max())), generator=generator)
        return torch.cat((torch.full((len(bits), 1), 2), bits), dim=1)

    def measure(self, tokens):
        return (tokens < 2).sum(1)

    def answer(self, tokens):
        return ((tokens == 1).cumsum(1) % 2).masked_fill(tokens == 2, IGNORE)

    def show(self, tokens, prediction=None):
        said = [] if prediction is None else ["->", ".", *map(str, prediction.tolist()[1:])]
        return " ".join([*("01>"[token] for token in tokens.tolist()), *said])


@dataclass
class DeepThinkingConfig(Config):
    alpha: float = 1.0  # the share of the progressive loss (1: prefix sums, 0.01: mazes, 0.5: chess)

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is a share, 0..1, not {self.alpha}")


class DeepThinking(LoopedGPT):
    config_class = DeepThinkingConfig

    def loss(self, tokens, targets, loops=None):
        alpha = self.config.alpha
        if alpha < 1:
            whole, prediction = super().loss(tokens, targets, loops)
            if alpha == 0:
                return whole, prediction
        m = loop_counts(loops, self.config, len(tokens))  # for each sequence, (B,)
        n = (torch.rand(len(m)) * m).long()  # 0..m - 1
        k = 1 + (torch.rand(len(m)) * (m - n)).long()  # 1..m - n
        with torch.no_grad():
            h = self.think(tokens, n.clamp(min=1))
        h = torch.where((n > 0).to(h.device)[:, None, None], h, self.begin(tokens)[0])
        loss, prediction = self.token_losses(self.think(tokens, k, h), targets)
        loss = loss.sum() / max(1, len(loss))
        return (loss if alpha == 1 else (1 - alpha) * whole + alpha * loss), prediction


# -----------------------------------------------------------------------------
# The claim

BITS, LONG, MOST = 12, 48, 96  # bits of a string in training and in the test; loops in the test
TRAINING = dict(
    model="deep_thinking", task="deep_thinking", bits=BITS, position="window", reach=2, n_embd=32, sampler="fixed",
    loops=20, curriculum=False, batch=32, lr=3e-3, steps=800,
)  # fmt: skip
BOTH = "recall and progressive loss"
KINDS = {
    "neither": dict(injection="none", alpha=0.0),
    "recall": dict(alpha=0.0),
    "progressive loss": dict(injection="none"),
    BOTH: dict(),
    "recall, 1 to m loops": dict(alpha=0.0, sampler="uniform"),  # is it the start in the middle, or just the variety?
}


def measure(lab):
    found = {}
    for kind, flags in KINDS.items():
        model, task, _ = lab.train(kind.replace(",", "").replace(" ", "_"), **TRAINING | flags)
        for bits in (BITS, LONG):
            found[f"{bits} bits, {kind}"] = lab.by_loop(model, task, bits, MOST)
        found[f"best, {kind}"], _ = lab.best(model, task, LONG, MOST)
        found[f"end, {kind}"] = found[f"{LONG} bits, {kind}"][-1]
    return found


def judge(found):
    end = {kind: median(found, f"end, {kind}") for kind in KINDS}
    alike = [kind for kind in KINDS if kind != BOTH and end[kind] > end[BOTH] - 0.2]
    verdict = "not reproduced"
    if median(found, f"best, {BOTH}") >= 0.9 and end[BOTH] >= 0.85:
        verdict = f"depends: {' and '.join(alike)} would do" if alike else "reproduced"
    told = (f"{kind} {between(found, f'best, {kind}')} / {between(found, f'end, {kind}')}" for kind in KINDS)
    return f"{LONG} bits at the best loop count / after {MOST} loops: {', '.join(told)}", verdict


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    for axis, bits in zip(axes, (BITS, LONG)):
        for seed in found:
            for kind, color in zip(KINDS, COLORS):
                axis.plot(range(1, MOST + 1), seed[f"{bits} bits, {kind}"], color=color)
        axis.axvline(TRAINING["loops"], color="k", lw=0.8, ls="--")
        axis.set(title=f"{bits} bits{', as trained' * (bits == BITS)}", xlabel="loops (dashed: training)")
    axes[0].set(ylabel="strings right (test)", ylim=(-0.03, 1.03))
    figure.legend(axes[0].lines, KINDS, loc="outside lower center", ncols=3)
    best, end = (between(found, f"{when}, {BOTH}") for when in ("best", "end"))
    title = f"{LONG} bits, with both: {best} right at the best loop count, {end} after {MOST} loops"
    figure.suptitle(f"{title} ({seeds_text(len(found))}, a line each)", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
