"""
Mixture-of-Recursions: Learning Dynamic Recursive Depths for Token-Level Computation (Bae et al. 2025, arXiv 2507.10524)

Not every token needs every loop. A router, one linear map, picks those that loop again; the others keep their state.
Expert choice: in loop t the k_t best scores of those that were in loop t - 1, with a k_t that falls from all to few.
That looks at the whole sequence: a later token can push out an earlier one, a leak from the future. The cure: each
score learns to say alone whether it will be among the k_t, and at test it is compared with a half.
Token choice: a token's depth is chosen at the start, and a loss keeps the depths balanced.

What changes in the loop: only the chosen tokens take its result, weighted by their score. (It is computed for all, to
keep the code short. What is counted below are the block applications that would be needed.)

    python papers/mixture_of_recursions.py    6 minutes a seed on one core
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from experiment import COLORS, Paper, between, draw_bars, median, run_paper
from torch import nn
from torch.nn import functional as F

from attention import init_weights
from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT

PAPER = Paper(
    name="mixture_of_recursions",
    title="Mixture-of-Recursions (Bae et al. 2025)",
    arxiv="2507.10524",
    changes="a router picks the tokens that loop again",
    claim="hard tokens get more loops: as right as when all tokens loop, at fewer block applications",
    theirs="validation loss 2.751 with 167M parameters, 2.782 with 315M and no loops, at equal FLOPs",
    note="a token that stopped stays visible as it was, theirs is not seen by those that go on; noise in the scores",
)


@dataclass
class RecursionsConfig(Config):
    route: Literal["topk", "threshold", "random", "depth"] = "topk"  # the first: expert choice, the last: token choice
    router_loss: float = 0.01  # weight of the router's own loss
    noise: float = 1.0  # of the scores, in training: what is never chosen cannot learn that it should be (Shazeer 2017)


class Recursions(LoopedGPT):
    """Two channels beside the state: how many loops a token took, and the router's loss at it."""

    config_class = RecursionsConfig

    def __init__(self, config):
        super().__init__(config)
        self.router = nn.Linear(config.n_embd, config.loops)  # a score for each loop
        self.router.apply(init_weights)

    def begin(self, tokens, cache=None):
        h, e, where = super().begin(tokens, cache)
        return F.pad(h, (0, 2)), e, where

    def loop(self, h, e, t, where, cache=None):
        h, taken, router_loss = h[..., :-2], h[..., -2], h[..., -1]
        chosen, weight, loss = self.token_choice(e, t) if self.config.route == "depth" else self.choose(h, t, taken)
        further = super().loop(h, e, t, where, cache)
        h = h + (chosen * weight)[..., None] * (further - h)
        return torch.cat((h, (taken + chosen)[..., None], (router_loss + loss)[..., None]), dim=-1)

    def choose(self, h, t, taken):
        """Expert choice: who loops, with what weight, and how surprising that is to the score alone; (B, T) each."""
        waiting = taken == t  # who sat out a loop is out
        logit = self.router(h)[..., min(t, self.config.loops - 1)]
        learns = self.training and torch.is_grad_enabled()
        noise = self.config.noise * learns * torch.randn_like(logit)
        order = torch.randn_like(logit) if self.config.route == "random" else logit + noise
        k = max(1, math.ceil(h.shape[1] * (1 - t / self.config.loops)))
        best = order.masked_fill(~waiting, -math.inf).topk(k, dim=1).indices
        chosen = torch.zeros_like(waiting).scatter(1, best, True) & waiting
        if self.config.route == "threshold":
            chosen = waiting & (logit > 0)
        loss = F.binary_cross_entropy_with_logits(logit, chosen.to(logit.dtype), reduction="none")
        return chosen, logit.sigmoid(), loss * waiting

    def token_choice(self, e, t):
        """The likeliest depth; the weight is 1, with the gradient of its probability."""
        probability = self.router(e).softmax(-1)  # (B, T, loops), of 1, 2, .. loops
        likeliest, depth = probability.max(-1)
        load = F.one_hot(depth, self.config.loops).to(e.dtype).mean((0, 1))
        balance = self.config.loops * (load * probability.mean((0, 1))).sum()  # 1 if balanced (Fedus 2022)
        return depth >= t, likeliest / likeliest.detach(), balance * (t == 0)

    def token_losses(self, h, targets):
        loss, prediction = super().token_losses(h, targets)
        return loss + self.config.router_loss * h[..., -1].mean(), prediction

    def readout(self, h, answer_mask=None, where=None, cache=None):
        return super().readout(h[..., :-2], answer_mask, where, cache)


# -----------------------------------------------------------------------------
# The claim

ALL = dict(task="addition", digits=6, position="window", reach=3, n_prelude=1, sampler="fixed", curriculum=False)
ALL |= dict(lr=3e-3, batch=32, steps=1500)
ROUTED = dict(model="mixture_of_recursions", loops=7)
MODELS = {
    "all 7": dict(loops=7),
    "all 4": dict(loops=4),  # as many block applications as those below
    "expert choice": ROUTED,
    "token choice": ROUTED | dict(route="depth"),
    "at random": ROUTED | dict(route="random"),
}
LABELS = (*MODELS, "threshold")  # expert choice again, made causal at test
LEAKS = ("leak, expert choice", "answers, expert choice", "leak, threshold")
WAITS = ("0", "1", "2", "3+")  # sums of nine that a carry would have to pass before it gets here


def waits(task, tokens):
    """(B, T): where a digit is read, how many sums of nine stand directly below it; -1 elsewhere."""
    run, found = torch.zeros_like(tokens[:, 0]), torch.full_like(tokens, -1)
    for place, total in enumerate(task.sums(tokens).T):
        found[:, 2 * place + 2] = run
        run = torch.where(total == 9, run + 1, 0)
    found[:, -1] = run
    return found


@torch.no_grad()
def ask(lab, model, task, label):
    tokens = task.batch("test", 0, lab.examples, None).tokens
    h = model.think(tokens)
    taken = h[..., -2] if hasattr(model, "router") else torch.full(tokens.shape, float(model.config.loops))
    found = dict(right=lab.by_loop(model, task, None, model.config.loops)[-1], applications=taken.mean().item())
    found |= {n: taken[waits(task, tokens).clamp(max=3) == i].mean().nan_to_num().item() for i, n in enumerate(WAITS)}
    tokens[:, -2] = (tokens[:, -2] + 1) % 10  # the last digit: what does it change before it?
    one, other = (model.readout(state)[:, :-2] for state in (h, model.think(tokens)))
    found["leak"] = ((one - other).abs().amax((1, 2)) > 1e-3).float().mean().item()
    found["answers"] = (one.argmax(-1) != other.argmax(-1)).any(1).float().mean().item()
    return {f"{name}, {label}": value for name, value in found.items()}


def measure(lab):
    found = {}
    for label, changes in MODELS.items():
        model, task, _ = lab.train(label.replace(" ", "_"), **ALL | changes)
        torch.manual_seed(lab.seed)  # for route="random"
        found |= ask(lab, model, task, label)
        if label == "expert choice":
            model.config.route = "threshold"
            found |= ask(lab, model, task, "threshold")
    return found


def judge(found):
    right = {label: median(found, f"right, {label}") for label in LABELS}
    told = [f"{x} {between(found, f'right, {x}')} ({between(found, f'applications, {x}', 1)})" for x in LABELS]
    loops = [f"{between(found, f'{n}, expert choice', 1)} above {n} nines" for n in WAITS]
    leak, answers, cured = (between(found, name) for name in LEAKS)
    ours = f"accuracy (block applications a token): {', '.join(told)}; loops of expert choice: {', '.join(loops)}; "
    ours += f"the last digit changes earlier outputs in {leak} of the questions, answers in {answers}; cured {cured}"
    parts = {
        "as right as all": right["expert choice"] > right["all 7"] - 0.02,
        "better than others at equal cost": right["expert choice"] > max(right["all 4"], right["at random"]) + 0.02,
        "more loops for the hard": median(found, "3+, expert choice") > median(found, "0, expert choice") + 0.5,
    }
    verdict = "reproduced" if all(parts.values()) else "depends" if any(parts.values()) else "not reproduced"
    return ours, verdict + " (" + ", ".join(f"{part}: {('no', 'yes')[holds]}" for part, holds in parts.items()) + ")"


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    for label, color in zip(LABELS, COLORS):
        x, y = ([seed[f"{name}, {label}"] for seed in found] for name in ("applications", "right"))
        axes[0].plot(x, y, "o", color=color, label=label)
    axes[0].set(xlabel="block applications a token", ylabel="accuracy (test)", ylim=(-0.03, 1.05))
    axes[0].legend(fontsize=9)
    draw_bars(axes[1], found, WAITS, ("expert choice", "token choice"))
    axes[1].set(xlabel="sums of nine directly below the place", ylabel="loops that it takes")
    axes[1].legend(fontsize=9, loc="lower right")
    leak = f"{median(found, 'leak, expert choice'):.0%} of the questions"
    figure.suptitle(f"Sums of 6 digits; expert choice sees a later digit in {leak} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
