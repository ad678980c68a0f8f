"""
End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022, arXiv 2202.05826)

A net that learns a rule on short questions should answer long ones if it thinks longer. But it forgets the question:
*recall* shows it in every loop (`injection`). And it counts, "after 20 loops I answer", which later ones spoil: it
overthinks. The *progressive loss* lets it think for n loops, cuts the gradient off, and asks for the answer k loops
later, by chance. So a loop has to bring any state nearer to the answer, and to leave the answer alone.
What changes: the loss, (1 - alpha) times that after all m loops, alpha times that after n + k of them.

    python papers/deep_thinking.py          5 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, median, run_paper

from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT, loop_counts
from tasks import IGNORE, Task

PAPER = Paper(
    name="deep_thinking",
    title="End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022)",
    arxiv="2202.05826",
    changes="the loss: it also starts in the middle of the thought, without a gradient to what came before",
    claim="a net with recall and the progressive loss, trained on short strings, is right on long ones, and stays so",
    theirs="prefix sums, trained on 32 bits with 30 loops: 512 bits 1.00 after 500 loops",
    note="a transformer that sees the bit before in place of a convolution; 12 and 48 bits. The paper's net has no "
    "norm between loops and recalls beside the state: pre-norm and concat come nearest; post-norm is the usual one of "
    "train.py. With the progressive loss alone two of three seeds do not learn",
)


@dataclass
class PrefixSums(Task):
    """
    How many ones so far, odd or even? Difficulty: bits. A shorter string is only the beginning of a longer one.

        "> 0 1 1 0 1 -> . 0 1 0 0 1"      the parity of each prefix, read at its last bit; ">" tells which bit is first
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
        alpha, whole = self.config.alpha, 0.0
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
        losses, prediction = self.token_losses(self.think(tokens, k, h), targets)
        return (1 - alpha) * whole + alpha * losses.sum() / max(1, len(losses)), prediction


BITS, LONG = PrefixSums.bits, 48  # bits of a string in training and in the test
LOOPS, MOST = 20, 120  # in training and in the test
TRAINING = dict(model="deep_thinking", task="deep_thinking", position="window", reach=2, n_embd=32, norm="pre")
TRAINING.update(injection="concat", sampler="fixed", loops=LOOPS, curriculum=False, batch=32, lr=3e-3, steps=700)
BOTH = {"both", "both, post-norm"}
KINDS = {
    "neither": dict(injection="none", alpha=0.0),
    "recall": dict(alpha=0.0),
    "progressive loss": dict(injection="none"),
    "both": dict(),
    "recall, 1 to m loops": dict(alpha=0.0, sampler="uniform"),  # is it the start in the middle, or just the variety?
    "recall, post-norm": dict(alpha=0.0, norm="post"),  # a loop cannot let the state grow
    "both, post-norm": dict(norm="post"),
}


def measure(lab):
    found = {}
    for kind, flags in KINDS.items():
        model, task, _ = lab.train(kind.replace(",", "").replace(" ", "_"), **TRAINING | flags)
        for bits in (BITS, LONG):
            curve = found[f"{bits} bits, {kind}, by loop"] = lab.by_loop(model, task, bits, MOST)
            found[f"{bits} bits, {kind}"] = curve[-1]
        found[f"best, {kind}"], _ = lab.best(model, task, LONG, 2 * LONG)
    return found


def judge(found):
    stays = {bits: [kind for kind in KINDS if median(found, f"{bits} bits, {kind}") >= 0.9] for bits in (BITS, LONG)}
    verdict = "reproduced" if "both" in stays[LONG] and {*stays[BITS], *stays[LONG]} <= BOTH else "not reproduced"
    if verdict != "reproduced" and BOTH & {*stays[LONG]}:
        names = [" or ".join(kinds).replace(", ", " + ") or "nothing" for kinds in stays.values()]
        right = (f"{bits} bits with {kinds}" for bits, kinds in zip(stays, names))
        verdict = f"depends: right to the end on {'; on '.join(right)}"
        verdict += "; the progressive loss is not needed" * bool({*stays[LONG]} - BOTH)
    asked = (f"{BITS} bits", "best", f"{LONG} bits")
    trained = {kind: [{0: seed[f"{BITS} bits, {kind}, by loop"][LOOPS - 1]} for seed in found] for kind in KINDS}
    told = (
        f"{kind} {between(trained[kind], 0)} / {' / '.join(between(found, f'{each}, {kind}') for each in asked)}"
        for kind in KINDS
    )
    counts = f"{BITS} bits after {LOOPS} / {MOST} loops / {LONG} at the best count / after {MOST}"
    return f"{counts}: {'; '.join(told)}", verdict


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), sharey=True, layout="constrained")
    for axis, bits in zip(axes, (BITS, LONG)):
        for seed in found:
            for kind, color in zip(KINDS, COLORS):
                axis.plot(range(1, MOST + 1), seed[f"{bits} bits, {kind}, by loop"], color=color)
        axis.set(title=f"{bits} bits{', as trained' * (bits == BITS)}", xlabel=f"loops (training: {LOOPS})")
    axes[0].set(ylabel="strings right (test)", ylim=(-0.03, 1.03))
    figure.legend(axes[0].lines, KINDS, loc="outside lower center", ncols=4)
    both, norm = (between(found, f"{LONG} bits, {kind}") for kind in ("both", "recall, post-norm"))
    title = f"{LONG} bits after {MOST} loops: {both} right with both, {norm} with recall and post-norm"
    figure.suptitle(f"{title} ({seeds_text(len(found))})", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
