"""
Coconut: Training Large Language Models to Reason in a Continuous Latent Space (Hao et al. 2024, arXiv 2412.06769)

A model that writes its steps commits to one word at each. Coconut does not decode: the last state is put behind the
text as if it were the next word's embedding, a few times, and then the answer is read. Such a thought can hold several
places at once, and search several branches of a graph side by side. It is a loop of one token: the text is read once,
a thought costs as much as one more token, where a loop reads the whole text again.

Nobody tells a thought what to be, and the answer alone teaches too little. So in training some of the first steps, a
random number of them, are thoughts, and those behind them are written (in the paper one step more in each stage).

What changes in the loop: the last places of the text are filled one by one, each with the state of the one before it.
Controls: learned vectors in these places (pauses, Goyal et al. 2024), the same and loops, and steps that are written.

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
    note="a random number of written steps is replaced, theirs one more in each of several stages",
)


@dataclass
class Reach(Task):
    """
    Which of two nodes can be reached? From each of two roots lead two branches; a node of each root is offered.

        "b>f a>d b>g d>i a>c f>j g>k c>h ? j h a -> h"      from a to d and i, or to c and h; j is behind b

    All is in random order, and names are new in every question. Behind the root stands the right branch, to its end;
    it is a target, too: "? j h a c h -> c h h". Difficulty: edges to the node. Tokens as in chains.py: names 0..N-1,
    "?" is N, and N + 1 + a N + b an edge from a to b.
    """

    hops: int = 3  # the most edges to the node in training, and those of a branch
    names: int = 18  # different names

    unit = "edges"

    def __post_init__(self):
        if self.hops < 1 or self.names < 2 + 4 * self.hops:
            raise ValueError(f"two roots, each with two branches of hops={self.hops}, need {2 + 4 * self.hops} names")
        self.max_difficulty, self.hardest = self.hops, (self.names - 2) // 4
        self.vocab_size, self.block_size = self.names + 1 + self.names**2, 5 * self.hops + 4

    def question(self, generator, difficulty):
        B, N, most = len(difficulty), self.names, max(self.hops, int(difficulty.max()))
        nodes = torch.rand((B, N), generator=generator).argsort(1)[:, : 2 + 4 * most]
        ways = torch.cat((nodes[:, [0, 0, 1, 1], None], nodes[:, 2:].view(B, 4, most)), dim=2)  # (B, 4, most + 1)
        edges = (N + 1 + N * ways[:, :, :-1] + ways[:, :, 1:]).flatten(1)
        edges = edges.gather(1, torch.rand(edges.shape, generator=generator).argsort(1))
        offered = ways[:, ::2].gather(2, difficulty.expand(1, 2, B).permute(2, 1, 0))[:, :, 0]
        offered = torch.where(torch.rand((B, 1), generator=generator) < 0.5, offered, offered.flip(1))
        return torch.cat((edges, torch.full((B, 1), N), offered, ways[:, 0]), dim=1)

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
        place = torch.arange(tokens.shape[1], device=tokens.device)
        return following.masked_fill(place < tokens.shape[1] - len(places), IGNORE)

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def belongs(self, tokens, split):
        edges = tokens.masked_fill(tokens <= self.names, 0)
        return in_split(edges.sort(1, descending=True).values, split)  # of the graph, in whatever order


@dataclass
class CoconutConfig(Config):
    thoughts: int = 3  # in the last places of the text, whose tokens are not read (--task multihop: as many --pause)
    feedback: bool = True  # a thought is the state before it; False: a learned vector, a pause
    edges: bool = False  # tokens can be edges, as those of --task chains are


class Coconut(LoopedGPT):
    config_class = CoconutConfig

    def __init__(self, config):
        super().__init__(config)
        if config.edges:
            self.embed = EdgeGPT(config).embed
        pauses = torch.zeros(config.thoughts, config.n_embd)
        self.pauses = pauses if config.feedback else nn.Parameter(torch.randn_like(pauses))
        self.now = config.thoughts  # in training: how many of them; the places behind these are read

    def places(self, T):
        """Where the first thought is, and the end of the last."""
        return T - self.config.thoughts, T - self.config.thoughts + self.now

    def begin(self, tokens, cache=None):
        _, e, where = super().begin(tokens, cache)
        first, end = self.places(tokens.shape[1])
        pauses = self.pauses[: self.now].to(e).expand(len(e), -1, -1)
        e = torch.cat((e[:, :first], pauses, e[:, end:]), dim=1)
        return e, e, where

    def loop(self, h, e, t, where, cache=None):
        """The question is read; each thought sees all before it; then what is behind them."""
        if not self.config.feedback:
            return super().loop(h, e, t, where, cache)
        x, kept = self.inject(h, e), Cache()
        first, end = self.places(x.shape[1])
        done = [self.core_pass(x[:, :first], t, self.positions(x[:, :first]), kept)]
        for place in range(first, end):
            thought = done[-1][:, -1:]
            done.append(self.core_pass(thought, t, self.positions(thought, place), kept))
        if end < x.shape[1]:
            done.append(self.core_pass(x[:, end:], t, self.positions(x[:, end:], end), kept))
        return torch.cat(done, dim=1)

    def loss(self, tokens, targets, loops=None):
        """Some of the first steps are thoughts, the others are written; what a thought would have been is not asked."""
        self.now = int(torch.randint(self.config.thoughts + 1, ()))
        first, end = self.places(tokens.shape[1])
        asked = targets.clone()
        asked[:, first - 1 : end - 1] = IGNORE
        result = super().loss(tokens, asked, loops)
        self.now = self.config.thoughts
        return result


# -----------------------------------------------------------------------------
# The claim

HOPS, LAYERS = 3, 2
ALL = dict(task="coconut", hops=HOPS, sampler="fixed", n_core=LAYERS, position="relative", reach=8)
ALL |= dict(curriculum=False, lr=3e-3, steps=1500)
MINE = dict(model="coconut", edges=True, thoughts=HOPS)
COST = LAYERS * (5 * HOPS + 4)
MODELS = {  # flags, and block applications a question
    "pauses": (MINE | dict(feedback=False, loops=1), COST),
    "written steps": (dict(model="edges", loops=1), COST),
    "latent thoughts": (MINE | dict(loops=1), COST),
    "pauses and loops": (MINE | dict(feedback=False, loops=1 + HOPS), COST * (1 + HOPS)),
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
            if label == "written steps":
                batch = task.batch("test", 0, lab.examples, hops)
                found[f"{hops}, {label}"] = task.check(batch, write(model, batch, HOPS)).float().mean().item()
    return found


def judge(found):
    last = {label: median(found, f"{HOPS}, {label}") for label in MODELS}
    ours = [f"{label} {between(found, f'{HOPS}, {label}')} ({cost})" for label, (_, cost) in MODELS.items()]
    beats = {other: last["latent thoughts"] > last[other] + 0.05 for other in ("written steps", "pauses")}
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
    axis.legend(axis.containers, costs, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.13), fontsize=8)
    words = ", ".join(
        f"{label} {median(found, f'{HOPS}, {label}'):.2f}" for label in ("latent thoughts", "written steps")
    )
    figure.suptitle(
        f"Which of two nodes is {HOPS} edges away: {words} ({seeds_text(len(found))}; block applications)", size=11
    )
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
