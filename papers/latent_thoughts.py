"""
Reasoning with Latent Thoughts: On the Power of Looped Transformers (Saunshi et al. 2025, arXiv 2502.17416)

Is it the parameters of a deep model that reason, or its depth? Write k x L for k layers that are looped L times. A
model of one layer, 1 x 1, cannot do what takes several steps. Looped, 1 x L has no parameter more, and as many layers
to go through as the stack L x 1, which has L times the parameters. If depth is what counts, 1 x L does as well as
L x 1; the loops are thoughts that nobody reads.

What changes in the loop: nothing. A control beside the paper's: each token is followed by L - 1 pauses (after Goyal et
al. 2024), so that 1 x 1 spends as much as 1 x L, side by side instead of one after the other, and has to fail, too.

    python papers/latent_thoughts.py          10 to 19 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import Paper, between, draw_bars, in_parts, median, run_paper
from torch import nn

from chains import EdgeGPT
from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT

L = 4
PAPER = Paper(
    name="latent_thoughts",
    title="Reasoning with Latent Thoughts (Saunshi et al. 2025)",
    arxiv="2502.17416",
    changes="nothing: k layers looped L times beside k, and beside k L different ones",
    claim="1 layer looped L times does what L layers do, and 1 layer does not",
    theirs="sums of 32 numbers: 1x1 0.00, 1x12 0.996, 12x1 1.00; 16 hops: 1x1 0.49, 1x6 1.00, 6x1 1.00",
    note="smaller tasks and models, 4 loops instead of 12; a control of ours, 1 layer with pauses, has to fail, too. "
    "Hops begin with 1: all at once (seed 0, 2,500 steps) the stack learns three, 1.00, and the loop does not, 0.50",
)


class PauseEmbedding(nn.Module):
    """Each token and behind it its pauses, at the last of which it is answered: (B, T) to (B, (1 + pauses) T, C)."""

    def __init__(self, embed, pauses):
        super().__init__()
        self.embed = embed
        self.weight = embed.weight  # is also the head
        self.pauses = nn.Parameter(torch.randn(pauses, embed.embedding_dim) * 0.02)

    def forward(self, tokens):
        pauses = self.pauses.expand(*tokens.shape, *self.pauses.shape)
        return torch.cat((self.embed(tokens)[:, :, None], pauses), dim=2).flatten(1, 2)


@dataclass
class PauseConfig(Config):
    pauses: int = 3  # behind each token
    edges: bool = False  # tokens can be edges, as those of --task chains are


class PauseGPT(LoopedGPT):
    config_class = PauseConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = PauseEmbedding(EdgeGPT(config).embed if config.edges else self.embed, config.pauses)

    def readout(self, h, answer_mask=None, where=None, cache=None):
        return super().readout(h[:, self.config.pauses :: 1 + self.config.pauses], answer_mask, where, cache)


# -----------------------------------------------------------------------------
# The claim

MODELS = {
    "1x1": dict(loops=1),
    f"1x{L}": dict(loops=L),
    f"{L}x1": dict(loops=1, n_core=L),
    "1x1 and pauses": dict(loops=1, model="latent_thoughts", pauses=L - 1),
}
QUESTIONS = {
    "6 numbers": dict(task="sums", position="relative", reach=21 * L, steps=3000),  # L: with pauses
    "3 hops": dict(task="phop", hops=3, position="alibi", n_prelude=0, batch=32, curriculum=True, gate=0.5, steps=2000),
    "4 edges": dict(task="chains", hops=4, chains=2, names=40, backprop_loops=0, steps=1000),
}
ALL = dict(injection="none", norm="pre", reembed=False, sampler="fixed", curriculum=False, ema=0.0)


def measure(lab):
    found = {}
    for question, of_task in QUESTIONS.items():
        for label, of_model in MODELS.items():
            edges = dict(edges=True) if question == "4 edges" and "pauses" in of_model else {}
            model, task, _ = lab.train(f"{question} {label}".replace(" ", "_"), **ALL | of_task | of_model | edges)
            found[f"{question}, {label}"] = lab.by_loop(model, task, task.max_difficulty, model.config.loops)[-1]
    return found


def judge(found):
    ours, shown = [], {}
    for question in QUESTIONS:
        one, looped, stack, pauses = (median(found, f"{question}, {label}") for label in MODELS)
        shown[question] = looped > max(one, pauses) + 0.2 and looped > stack - 0.05
        ours.append(", ".join(f"{label} {between(found, f'{question}, {label}')}" for label in MODELS))
    return "; ".join(f"{question}: {numbers}" for question, numbers in zip(QUESTIONS, ours)), in_parts(shown)


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    draw_bars(axis, found, QUESTIONS, MODELS)
    axis.set(ylabel="accuracy (test)", ylim=(0, 1.05))
    axis.legend(title="layers x loops", loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.3))
    one, looped, stack = (
        " / ".join(f"{median(found, f'{question}, {label}'):.2f}" for question in QUESTIONS)
        for label in list(MODELS)[:3]
    )
    said = f"One layer {one}, looped {L} times {looped}, {L} layers {stack}"
    figure.suptitle(f"{said} ({seeds_text(len(found))})", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
