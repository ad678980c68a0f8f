"""
Coconut: Training Large Language Models to Reason in a Continuous Latent Space (Hao et al. 2024, arXiv 2412.06769)

A model that writes its steps commits to one word at each. Coconut does not decode: the last state is put behind the
text as if it were the next word's embedding, a few times, and then the answer is read. Such a thought could hold
several places at once and search several branches of a graph side by side (notebooks/4_papers looks whether it does).
It is a loop of one token: the text is read once, a thought costs as much as one more token, where a loop reads the
whole text again.

Nobody tells a thought what to be, and the answer alone teaches too little. So in training some of the first steps, a
random number of them, are thoughts, and those behind them are written (in the paper one step more in each stage).

What changes in the loop: the last places of the text are filled one by one, each with the state of the one before it.
Controls: learned vectors in these places (pauses, Goyal et al. 2024), the same and loops, and steps that are written.
The task, reach.py, is to say which of two nodes of a graph can be reached.

    python papers/coconut.py                  4 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import Paper, between, draw_bars, median, run_paper
from torch import nn

from attention import Cache
from chains import EdgeGPT
from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT
from tasks import IGNORE

PAPER = Paper(
    name="coconut",
    title="Coconut, reasoning in a latent space (Hao et al. 2024)",
    arxiv="2412.06769",
    changes="the last state is the next input, several times in a loop",
    claim="where a step must be searched for, latent thoughts beat written steps, at the same cost",
    theirs="which of two is reachable (ProsQA): 97.0 by thoughts, 77.5 by written steps, 76.7 without either",
    note="a random number of written steps is replaced, theirs one more in each of several stages; steps are written "
    "from the root on, as theirs (from the node back, none has to be searched for). Pauses and loops have not even "
    "learned one edge in these steps, so that their bar says nothing of loops",
)


@dataclass
class CoconutConfig(Config):
    thoughts: int = 3  # in the last places of the text, whose tokens are not read (--task multihop: as many --pause)
    feedback: bool = True  # a thought is the state before it; False: a learned vector, a pause
    edges: bool = False  # tokens can be edges, as those of --task reach and --task chains are


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
ALL = dict(task="reach", hops=HOPS, sampler="fixed", n_core=LAYERS, position="relative", reach=8)
ALL |= dict(curriculum=False, lr=3e-3, steps=1500)
MINE = dict(model="coconut", edges=True, thoughts=HOPS)
COST = LAYERS * (5 * HOPS + 4)
MODELS = {  # flags, and block applications a question
    "pauses": (MINE | dict(feedback=False, loops=1), COST),
    "written steps": (dict(model="edges", loops=1), COST),
    "latent thoughts": (MINE | dict(loops=1), COST),
    "pauses and loops": (MINE | dict(feedback=False, loops=1 + HOPS), COST * (1 + HOPS)),
}


def write(model, batch, steps):
    """Predictions (B, T) of a model that writes its steps itself."""
    return model.generate(batch.tokens[:, :-steps], steps + 1, 1)[:, 1:]


def measure(lab):
    found = {}
    for label, (changes, _) in MODELS.items():
        model, task, _ = lab.train(label.replace(" ", "_"), **ALL | changes)
        for hops in range(1, HOPS + 1):
            batch = task.batch("test", 0, lab.examples, hops)
            said = write(model, batch, HOPS) if label == "written steps" else model(batch.tokens).argmax(-1)
            found[f"{hops}, {label}"] = task.check(batch, said).float().mean().item()
    return found


def judge(found):
    last = {label: median(found, f"{HOPS}, {label}") for label in MODELS}
    ours = [f"{label} {between(found, f'{HOPS}, {label}')} ({cost})" for label, (_, cost) in MODELS.items()]
    beats = {other: last["latent thoughts"] > last[other] + 0.05 for other in ("written steps", "pauses")}
    one = f"depends: latent thoughts beat {max(beats, key=beats.get)} alone"
    verdict = ("not reproduced", one, "reproduced")[sum(beats.values())]
    return f"{HOPS} edges, chance 0.5 (block applications a question): {'; '.join(ours)}", verdict


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    draw_bars(axis, found, [str(hops) for hops in range(1, HOPS + 1)], MODELS)
    axis.axhline(0.5, color="k", lw=0.8, ls=":")  # chance
    axis.set(xlabel="edges between the root and the node", ylabel="accuracy (test)", ylim=(0, 1.05))
    names = [f"{label} ({cost})" for label, (_, cost) in MODELS.items()]
    axis.legend(axis.containers, names, title="(block applications)", loc="center left", bbox_to_anchor=(1, 0.5))
    latent, written = (median(found, f"{HOPS}, {label}") for label in ("latent thoughts", "written steps"))
    figure.suptitle(f"{HOPS} edges: latent thoughts {latent:.2f}, written steps {written:.2f} ({seeds_text(found)})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
