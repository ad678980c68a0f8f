"""
Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025, arXiv 2510.25741)

After each loop a gate says how likely it is to stop now, lambda_t; p(t) = lambda_t (1 - lambda_1) .. (1 - lambda_(t-1))
is then the chance to answer after loop t; the last loop takes what is left. Stage I: each loop answers, weighted by p,
and beta H(p), the entropy, keeps all loops in play while the model learns. Stage II trains the gate alone: go on where
the loop before lowered the loss. Beside them: the same count for all, and `settle`, which nobody had to train.

What changes in the loop: nothing. The loss reads every state, and `solve` has a rule `gate`.

    python papers/ouro.py          4 minutes a seed on one core
"""

from dataclasses import dataclass

import numpy as np
import torch
from experiment import COLORS, Paper, between, median, run_paper
from torch import nn

from checks import loop_counts
from figures import WIDTH, plt, seeds_text
from looped import IGNORE, Config, LoopedGPT

PAPER = Paper(
    name="ouro",
    title="Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025)",
    arxiv="2510.25741",
    changes="a gate after each loop; loss = sum of p(t) L(t) - beta H(p)",
    claim="a trained gate spends loops by difficulty; without the entropy term p collapses onto the last loop",
    theirs="MMLU: a gate with 2.5 loops on average 0.66, every question 2 loops 0.60, 4 loops 0.67",
    note="hops through learnt facts and 8 loops instead of text and 4; p is read at the answer alone",
)


@dataclass
class OuroConfig(Config):
    beta: float = 0.1  # what the entropy of p is worth, in nats of loss for each nat; 0: the gate may collapse


def gate(model, before, h, answer_mask, last):
    """The chance not to have stopped by now, at the answer that is the least willing to stop."""
    return last.clamp(max=1) * (1 - model.stop(h)).masked_fill(~answer_mask, 0).amax(1)


class Ouro(LoopedGPT):
    config_class = OuroConfig
    exit_rules = {"gate": (gate, 0.5)}

    def __init__(self, config):
        super().__init__(config)
        self.gate = nn.Linear(config.n_embd, 1)

    def stop(self, h):
        return self.gate(self.norm(h))[..., 0].sigmoid()  # lambda (..) of states (.., C)

    def loss(self, tokens, targets, loops=None):
        counts, asked = loop_counts(loops, self.config, len(tokens)), targets != IGNORE
        states = list(self.states(tokens, counts.max()))[1:]
        losses, predictions = zip(*[self.token_losses(h, targets) for h in states])
        loop = torch.arange(1, len(states) + 1)[:, None]
        is_last = (loop == counts[asked.nonzero()[:, 0].cpu()]).to(tokens.device)  # (loops, N)
        stop = torch.stack([self.stop(h[asked]) for h in states]).masked_fill(is_last, 1)  # lambda
        p = stop * torch.cat((torch.ones_like(stop[:1]), (1 - stop).cumprod(0)[:-1]))
        entropy = -(p * p.clamp(min=1e-9).log()).sum(0)
        losses = (p * torch.stack(losses)).sum(0) - self.config.beta * entropy
        return losses.sum() / max(1, len(losses)), predictions[-1]


# -----------------------------------------------------------------------------
# The claim

L, BETAS = 8, (0.1, 0)
THRESHOLDS = (0.999, 0.99, 0.97, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001)
RULES = {"same count": [dict(rule="fixed", max_loops=t + 1) for t in range(L)]}
for rule, kind in (("settle", "settle"), ("gate I", "gate"), ("gate II", "gate")):
    RULES[rule] = [dict(rule=kind, max_loops=L, threshold=each) for each in THRESHOLDS]


def stage_two(model, task, steps, k=50, gamma=0.005):
    """The gate, and nothing else, learns to go on where the last loop lowered the loss."""
    optimizer = torch.optim.AdamW(model.gate.parameters(), lr=1e-2)
    for step in range(steps):
        batch = task.batch("train", step, 64)
        with torch.no_grad():
            states = model.trajectory(batch.tokens, L)[1:]
            losses = torch.stack([model.token_losses(h, batch.targets)[0] for h in states])
        goes_on = torch.sigmoid(k * ((losses[:-1] - losses[1:]).clamp(min=0) - gamma))
        loss = nn.functional.binary_cross_entropy(1 - model.stop(states[1:, batch.targets != IGNORE]), goes_on)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def score(model, task, split, examples, setting):
    """Accuracy, mean loops, and mean loops for each difficulty, where every question stops by a rule."""
    batch = task.batch(split, 0, examples)
    logits, loops = model.solve(batch.tokens, answer_mask=batch.targets != IGNORE, **setting)
    right = task.check(batch, logits.argmax(-1)).float().mean()
    by_hops = [loops[batch.difficulty == hops].float().mean().item() for hops in task.difficulties(split)]
    return right.item(), loops.float().mean().item(), by_hops


def measure(lab):
    found, bar = {}, 0
    for beta in reversed(BETAS):
        flags = dict(model="ouro", task="multihop", sampler="fixed", loops=L, beta=beta)
        model, task, _ = lab.train(f"beta_{beta}", **flags)
        batch = task.batch("test", 0, lab.examples)
        stop = model.stop(model.trajectory(batch.tokens, L)[1:-1, batch.targets != IGNORE])
        found[f"last loop, beta {beta}"] = (1 - stop).prod(0).mean().item()
    for rule, settings in RULES.items():
        if rule == "gate II":
            stage_two(model, task, 3 if lab.tiny else 300)
        val = [score(model, task, "val", lab.examples, setting)[:2] for setting in settings]
        bar = bar or max(right for right, _ in val) - 0.01  # what the best count for all reaches, each rule has to
        cost = [loops if right >= bar else L + 1 - right for right, loops in val]  # the nearest, where none does
        chosen = score(model, task, "test", 4 * lab.examples, settings[cost.index(min(cost))])
        found[f"{rule}, right"], found[f"{rule}, loops"], found[rule] = chosen
    return found


def judge(found):
    right, loops = ([median(found, f"{rule}, {what}") for rule in RULES] for what in ("right", "loops"))
    hops = np.median([seed["gate I"] for seed in found], axis=0)
    spends = hops[-1] - hops[0] >= 1 and right[2] >= right[0] - 0.01 and loops[2] <= 0.9 * loops[0]
    collapses = median(found, "last loop, beta 0") > 0.9 and median(found, "last loop, beta 0.1") < 0.5
    ours = [f"{rule} {between(found, f'{rule}, right')} with {between(found, f'{rule}, loops', 1)}" for rule in RULES]
    ours += [f"gate I: {hops[0]:.1f} loops for 1 hop, {hops[-1]:.1f} for {len(hops)}"]
    ours += [f"p of the last loop {between(found, f'last loop, beta {beta}')} with beta {beta}" for beta in BETAS]
    one = "depends: the gate spends by difficulty, no collapse" if spends else "depends: the collapse only"
    return "; ".join(ours), ("not reproduced", one, "reproduced")[int(spends) + int(collapses)]


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
    hops = range(1, len(found[0]["gate I"]) + 1)
    for rule, color in zip(RULES, COLORS):
        label = f"{rule}: {median(found, f'{rule}, right'):.2f}, {median(found, f'{rule}, loops'):.1f}"
        axis.plot(hops, np.median([seed[rule] for seed in found], axis=0), color=color, label=label)
        axis.plot(hops, np.transpose([seed[rule] for seed in found]), ".", color=color)
    axis.set(xlabel="hops", ylabel="loops spent (mean)", ylim=(0, L + 0.3))
    axis.legend(title="rule: accuracy (test), mean loops", loc="center left", bbox_to_anchor=(1, 0.5))
    spent, last = (np.median([seed["gate I"][i] for seed in found]) for i in (0, -1))
    figure.suptitle(f"Gate I takes {spent:.1f} loops for 1 hop, {last:.1f} for {len(hops)} ({seeds_text(found)})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
