"""
Universal Transformers (Dehghani et al. 2019, arXiv 1807.03819), with the start of Sapunov 2026 (2604.21999)

The first looped transformer tells every loop where and when it is, by sines added to the state, and lets each position
halt on its own (ACT, Graves 2016): after a loop it halts with p = sigmoid(w h + b), and once its p add up to almost 1
its state stays as it is. The answer is read from the average of its states, each weighted by its p; the last gets what
the p leave of 1. `ponder` is the price of a loop. Does halting learn difficulty, and how far does such an answer go on
questions harder than in training?

What changes in the loop: it knows t, and the state carries h, the sum of p h, the sum of p and the loops so far.

    python papers/universal_transformer.py          5 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, in_parts, median, run_paper

from figures import WIDTH, plt, seeds_text
from looped import IGNORE, Config, LoopedGPT

PAPER = Paper(
    name="universal_transformer",
    title="Universal Transformers (Dehghani et al. 2019)",
    arxiv="1807.03819",
    changes="sines of position and loop are added to the state; each position halts on its own and averages its states",
    claim="halting learns difficulty if its bias starts at -3, not 0; ACT extrapolates less than the last state",
    theirs="Sudoku (Sapunov 2026, with memory tokens): bias -3 0.57, bias 0 or more sticks at few loops",
    note="hops through learnt facts. The first claim is of Sapunov, the second ours; its control neither averages nor "
    "halts, and the curves at 8 hops follow the loop of halting: it may be halting, not the average",
)
ALMOST = 0.99  # a position halts when its p add up to more


@dataclass
class UniversalConfig(Config):
    signals: bool = True  # tell every loop the position and its own number
    act: bool = True  # halt each position on its own and average; False: read the last state
    halt_bias: float = -3.0  # b at the start: -3 halts late, 0 after two loops
    ponder: float = 0.01  # what a loop costs, in nats


def halt(model, before, state, answer_mask, last):
    """How much of 1 is left at the answer that halts last."""
    return (1 - model.parts(state)[2] - model.p(state))[..., 0].masked_fill(~answer_mask, -1).amax(1)


def sines(x, C):
    """Numbers (..) as sines and cosines of wave lengths 2 pi to 20000 pi: (.., C)."""
    angle = x[..., None] / 10000 ** (torch.arange(0, C, 2, device=x.device) / C)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)[..., :C]


class UniversalTransformer(LoopedGPT):
    config_class = UniversalConfig
    exit_rules = {"halt": (halt, 1 - ALMOST)}

    def __init__(self, config):
        super().__init__(config)
        self.halt = torch.nn.Linear(config.n_embd, 1)
        torch.nn.init.constant_(self.halt.bias, config.halt_bias)

    def parts(self, state):
        """h and the sum of p h, (.., C) each; the sum of p and the loops so far, (.., 1) each."""
        return state.split((self.config.n_embd, self.config.n_embd, 1, 1), dim=-1)

    def p(self, state):
        """The chance to halt; none without ACT, nor before the first loop."""
        h, _, _, loops = self.parts(state)
        return self.halt(h).sigmoid() * (loops > 0) * self.config.act

    def begin(self, tokens, cache=None):
        h, e, where = super().begin(tokens, cache)
        return torch.cat((h, torch.zeros_like(h), torch.zeros_like(h[..., :2])), dim=-1), e, where

    def loop(self, state, e, t, where, cache=None):
        (h, total, spent, loops), p = self.parts(state), self.p(state)
        place = torch.arange(h.shape[1], device=h.device) + (0 if cache is None else cache.length)
        signal = sines(place, h.shape[-1]) + sines(torch.full_like(place, t + 1), h.shape[-1])
        after = super().loop(h + signal if self.config.signals else h, e, t, where, cache)
        after = torch.cat((after, total + p * h, spent + p, loops + 1), dim=-1)
        return torch.where(spent + p <= ALMOST, after, state)

    def readout(self, state, answer_mask=None, where=None, cache=None):
        h, total, spent, _ = self.parts(state)
        return super().readout(total + (1 - spent) * h, answer_mask, where, cache)

    def loss(self, tokens, targets, loops=None):
        state = self.think(tokens, loops)
        losses, prediction = self.token_losses(state, targets)
        _, _, spent, loops = self.parts(state)
        ponder = (loops + 1 - spent).mean() * (self.config.act and len(losses) > 0)
        return losses.sum() / max(1, len(losses)) + self.config.ponder * ponder, prediction


# -----------------------------------------------------------------------------
# The claim

MODELS = {"ACT": dict(), "ACT, bias 0": dict(halt_bias=0.0), "ACT, no signals": dict(signals=False)}
MODELS |= {"last state": dict(act=False), "last state, no signals": dict(act=False, signals=False)}
HALTING = [name for name in MODELS if name.startswith("ACT")]
LABELS = dict(halts="loops until the answer halts (mean)", right="accuracy (test, best loop count)")
HOPS, LOOPS = (1, 2, 3, 4, 5, 6, 8), 16  # trained on the first four


def measure(lab):
    found = {}
    for name, changes in MODELS.items():
        label = name.replace(",", "").replace(" ", "_")
        model, task, _ = lab.train(label, task="multihop", model="universal_transformer", hops=4, steps=2000, **changes)
        for hops in HOPS:
            batch = task.batch("test", 0, lab.examples, hops)
            state = model.trajectory(batch.tokens, LOOPS)[-1, batch.targets != IGNORE]
            found[f"{name}, halts at {hops}"] = model.parts(state)[3].mean().item()
            found[f"{name}, right at {hops}"] = lab.best(model, task, hops, LOOPS)[0]
    return found


def judge(found):
    of = {name: median(found, name) for name in found[0]}
    learns = of["ACT, halts at 4"] >= of["ACT, halts at 1"] + 1 and of["ACT, right at 4"] >= 0.9
    sticks = of["ACT, bias 0, halts at 4"] <= of["ACT, halts at 4"] - 1
    sticks = sticks and of["ACT, bias 0, right at 4"] <= of["ACT, right at 4"] - 0.05
    gains = [
        of[f"last state{signals}, right at 6"] - of[f"ACT{signals}, right at 6"] for signals in ("", ", no signals")
    ]
    shown = {
        "halting learns difficulty": learns,
        "bias 0 sticks": sticks,
        "ACT extrapolates less than the last state": min(gains) >= 0.1,
    }
    ours = [f"{name} " + " / ".join(between(found, f"{name}, right at {hops}") for hops in (4, 6)) for name in MODELS]
    for name in HALTING:
        ours.append(f"{name}, halts " + " / ".join(between(found, f"{name}, halts at {hops}", 1) for hops in (1, 4)))
    asked = "right at 4 hops, as trained / 6, at the best loop count (halts at 1 / 4)"
    return f"{asked}: {'; '.join(ours)}", in_parts(shown)


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    for axis, what, models in zip(axes, ("halts", "right"), (HALTING, MODELS)):
        for name, color in zip(models, COLORS):
            names = [f"{name}, {what} at {hops}" for hops in HOPS]
            axis.plot(HOPS, [median(found, each) for each in names], color=color, label=name)
            axis.plot(HOPS, [[seed[each] for seed in found] for each in names], ".", color=color)
        axis.axvline(4.5, color="k", lw=0.8, ls=":")
        axis.set(xlabel="hops (trained: left of the line)", ylim=(0, None), ylabel=LABELS[what])
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    said = "ACT halts after {:.1f} loops at 1 hop, after {:.1f} at 4 ({})"
    figure.suptitle(said.format(*(median(found, f"ACT, halts at {hops}") for hops in (1, 4)), seeds_text(found)))
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
