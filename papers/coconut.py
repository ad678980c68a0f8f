"""
Coconut: Training Large Language Models to Reason in a Continuous Latent Space (Hao et al. 2024, arXiv 2412.06769)

A model that writes its steps commits to one word at each. Coconut does not decode: the last state is put behind the
text as if it were the next word's embedding, a few times, and then the answer is read. Such a thought can hold several
places at once, and search several branches of a graph side by side. It is a loop of one token: the text is read once,
a thought costs as much as one more token, where a loop reads the whole text again.

What changes in the loop: inside it the last token goes on, `thoughts` times. Controls: learned vectors in the place of
the thoughts (pauses, Goyal et al. 2024), loops, and steps that are written, which must choose a branch to begin with.

    python papers/coconut.py                  6 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import Paper, between, draw_bars, median, run_paper
from torch import nn

from attention import Cache
from chains import EdgeGPT
from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT
from tasks import IGNORE, Task, in_split

PAPER = Paper(
    name="coconut",
    title="Coconut, reasoning in a latent space (Hao et al. 2024)",
    arxiv="2412.06769",
    changes="the last state is the next input, several times in a loop",
    claim="where a step must be searched for, latent thoughts beat written steps, at the same cost",
    theirs="which of two is reachable (ProsQA): 97.0 by thoughts, 77.5 by written steps, 76.7 without either",
    note="all thoughts from the start, where theirs replace written steps one after the other in stages",
)


@dataclass
class Reach(Task):
    """
    Which of two nodes can be reached? From each of two roots lead two branches; a node of each root is offered.

        "b>f a>d b>g d>i a>c f>j g>k c>h ? j h a -> h"      from a to d and i, or to c and h; j is behind b

    All is in random order, and names are new in every question. With `written` a whole branch, the right one, stands
    behind the root and is a target, too: "? j h a c h -> c h h". Difficulty: edges to the node. Tokens as in chains.py:
    names 0..N-1, "?" is N, and N + 1 + a N + b an edge from a to b.
    """

    hops: int = 3  # the most edges to the node in training, and those of a branch
    names: int = 18  # different names
    written: bool = False  # the way is written down

    unit = "edges"

    def __post_init__(self):
        if self.hops < 1 or self.names < 2 + 4 * self.hops:
            raise ValueError(f"two roots, each with two branches of hops={self.hops}, need {2 + 4 * self.hops} names")
        self.max_difficulty, self.hardest = self.hops, (self.names - 2) // 4
        self.vocab_size, self.block_size = self.names + 1 + self.names**2, (4 + self.written) * self.hops + 4

    def question(self, generator, difficulty):
        B, N, most = len(difficulty), self.names, max(self.hops, int(difficulty.max()))
        nodes = torch.rand((B, N), generator=generator).argsort(1)[:, : 2 + 4 * most]
        ways = torch.cat((nodes[:, [0, 0, 1, 1], None], nodes[:, 2:].view(B, 4, most)), dim=2)  # (B, 4, most + 1)
        edges = (N + 1 + N * ways[:, :, :-1] + ways[:, :, 1:]).flatten(1)
        edges = edges.gather(1, torch.rand(edges.shape, generator=generator).argsort(1))
        offered = ways[:, ::2].gather(2, difficulty.expand(1, 2, B).permute(2, 1, 0))[:, :, 0]
        offered = torch.where(torch.rand((B, 1), generator=generator) < 0.5, offered, offered.flip(1))
        parts = [edges, torch.full((B, 1), N), offered, nodes[:, :1]]
        return torch.cat(parts + [ways[:, 0, 1:]] * self.written, dim=1)

    def back(self, tokens):
        """Where the two nodes lead back to, step by step (a root is not left), (steps + 1, B, 2); the root (B, 1)."""
        edges = int((tokens[0] > self.names).sum())
        edge = tokens[:, :edges] - self.names - 1
        before = torch.arange(self.names, device=tokens.device).repeat(len(tokens), 1)
        before = before.scatter(1, edge % self.names, edge // self.names)
        places = [tokens[:, edges + 1 : edges + 3]]
        for _ in range(edges // 4):
            places.append(before.gather(1, places[-1]))
        return torch.stack(places), tokens[:, edges + 3 : edges + 4]

    def measure(self, tokens):
        places, root = self.back(tokens)
        return (places != root).sum(0).amin(1)  # the other node never gets there

    def answer(self, tokens):
        places, root = self.back(tokens)
        reached = places[0][places[-1] == root][:, None]
        following = torch.cat((tokens[:, 1:], reached), dim=1)
        asked = 1 + (len(places) - 1) * self.written  # the last ones
        return following.masked_fill(
            torch.arange(tokens.shape[1], device=tokens.device) < tokens.shape[1] - asked, IGNORE
        )

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def belongs(self, tokens, split):
        edges = tokens.masked_fill(tokens <= self.names, 0)
        return in_split(edges.sort(1, descending=True).values, split)  # of the graph, in whatever order


@dataclass
class CoconutConfig(Config):
    thoughts: int = 3  # behind the last token, whose state is read after them
    feedback: bool = True  # the last state is the next thought; False: learned vectors, pauses
    edges: bool = False  # tokens can be edges, as those of --task chains are


class Coconut(LoopedGPT):
    config_class = CoconutConfig

    def __init__(self, config):
        super().__init__(config)
        if config.edges:
            self.embed = EdgeGPT(config).embed
        if not config.feedback:
            self.pauses = nn.Parameter(torch.randn(config.thoughts, config.n_embd))

    def loop(self, h, e, t, where, cache=None):
        """The question is read once; then the last state is read again as the next input, and sees all before it."""
        read = Cache() if cache is None else cache
        h = self.core_pass(self.inject(h, e), t, where, read)
        last, kept = h[:, -1:], Cache()
        kept.kept = dict(read.kept)  # thoughts are not seen by tokens that come later
        for thought in range(self.config.thoughts):
            x = last if self.config.feedback else self.pauses[thought].expand_as(last)
            last = self.core_pass(x, t, self.positions(x, read.length + h.shape[1] + thought), kept)
        return torch.cat((h[:, :-1], last), dim=1)


# -----------------------------------------------------------------------------
# The claim

HOPS, LAYERS = 3, 2
THOUGHTS = HOPS + 1
ALL = dict(task="coconut", hops=HOPS, sampler="fixed", loops=1, n_core=LAYERS, position="relative", reach=8)
ALL |= dict(curriculum=False, model="edges", lr=3e-3, steps=1500)
MINE = dict(model="coconut", edges=True, thoughts=THOUGHTS)
LENGTH = 4 * HOPS + 4
MODELS = {  # flags, and block applications a question
    "neither": ({}, LAYERS * LENGTH),
    "pauses": (MINE | dict(feedback=False), LAYERS * (LENGTH + THOUGHTS)),
    "written steps": (dict(written=True), LAYERS * (LENGTH + HOPS)),
    "latent thoughts": (MINE, LAYERS * (LENGTH + THOUGHTS)),
    "loops": (dict(loops=1 + THOUGHTS), LAYERS * LENGTH * (1 + THOUGHTS)),
}


@torch.no_grad()
def write(model, batch, steps):
    """Predictions (B, T) of a model that writes its steps itself."""
    text = batch.tokens[:, : batch.tokens.shape[1] - steps]
    return model.generate(text, steps + 1, 1)[:, 1:]


def measure(lab):
    found = {}
    for label, (changes, _) in MODELS.items():
        model, task, _ = lab.train(label.replace(" ", "_"), **ALL | changes)
        for hops in range(1, HOPS + 1):
            found[f"{hops}, {label}"] = lab.by_loop(model, task, hops, model.config.loops)[-1]
            if task.written:
                batch = task.batch("test", 0, lab.examples, hops)
                found[f"{hops}, {label}"] = task.check(batch, write(model, batch, HOPS)).float().mean().item()
    return found


def judge(found):
    last = {label: median(found, f"{HOPS}, {label}") for label in MODELS}
    ours = [f"{label} {between(found, f'{HOPS}, {label}')} ({cost})" for label, (_, cost) in MODELS.items()]
    beats = {other: last["latent thoughts"] > last[other] + 0.05 for other in ("written steps", "pauses", "neither")}
    verdict = "reproduced" if all(beats.values()) else "depends" if any(beats.values()) else "not reproduced"
    if verdict == "depends":
        verdict += f": latent thoughts do not beat {' and '.join(other for other, won in beats.items() if not won)}"
    return f"{HOPS} edges, chance 0.5 (block applications a question): {', '.join(ours)}", verdict


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    draw_bars(axis, found, [str(hops) for hops in range(1, HOPS + 1)], MODELS)
    axis.axhline(0.5, color="black", ls=":")  # chance
    axis.set(xlabel="edges between the root and the node", ylabel="accuracy (test)", ylim=(0, 1.05))
    costs = [f"{label} ({cost})" for label, (_, cost) in MODELS.items()]
    axis.legend(axis.containers, costs, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.13), fontsize=8)
    words = ", ".join(
        f"{label} {median(found, f'{HOPS}, {label}'):.2f}" for label in ("latent thoughts", "written steps")
    )
    figure.suptitle(
        f"Which of two nodes is {HOPS} edges away: {words} ({seeds_text(len(found))}; block applications)", size=11
    )
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
