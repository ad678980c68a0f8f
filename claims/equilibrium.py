"""
Equilibrium Reasoners: Learning Attractors Enables Scalable Reasoning
(Huang, Geng, Kolter 2026, arXiv 2605.21488)

The model is papers/equilibrium.py. There are two ways to think more: longer, or again from another
start. Of several starts the answer that stands stillest is taken. Controls: a vote among the
starts, an oracle, one start with as many loops in all, and the plain loop with all of this.

    python -m claims.equilibrium --seeds 40 41 42         12 minutes a seed on one core
"""

from collections import deque

import torch

from analyses.solve import filled, moved
from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from support.figures import BLUE, GREEN, GREY, ORANGE, WIDTH, plt
from support.hashing import stream

CLAIM = Claim(
    name="equilibrium",
    title="Equilibrium Reasoners (Huang et al. 2026)",
    arxiv="2605.21488",
    changes="starts from noise; a step goes 0.95 of the way and is shaken",
    claim="more loops solve more boards, and more starts still more, of which the one that comes "
    "to rest is taken",
    theirs="9x9: 0.86 after 16 segments of several loops, 0.93 after 64, 0.998 after 64 from 128 "
    "starts, shaken by 0.5, of which the stillest four are taken",
    falls="48 loops solve no more than 12; eight starts of 48 loops solve no more than one, or "
    "than one of 384; a vote chooses 0.02 better than rest; or one start of 48 loops solves no "
    "more than that of the plain loop, which was not trained with noise",
    tried="easier boards leave no room (seed 0); one setting of the loops. Shakes of 0.01, 0.1 and "
    "0.5 at test, of which val chooses one for eight starts and one for each number of loops; with "
    "0.5 nothing is solved",
    note="6x6 boards that need search; one state and a loss at every loop, no tiny recursive "
    "model; a residual is of a step with its shake, in the state, where theirs is that of the "
    "logits. One start with as many loops in all is a control of ours. One start of the plain loop "
    "is its embedding in the first curve, else noise it never saw",
)
L, DEEP, STARTS = 12, 48, (1, 2, 4, 8)  # loops in training, and of each start in the test
MOST = STARTS[-1]
LONG = [L, 2 * L, *(DEEP * starts for starts in STARTS)]  # loops of a single start
HARD = 32  # rounds: the name of boards that singles do not solve
BOARDS = dict(questions=62, shared=True)  # in test; the others are these in other digits
ALL = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", sampler="fixed")
ALL |= dict(loops=L, loss="every", curriculum=False, n_embd=48, batch=32, lr=3e-3, steps=2000)
MODELS = {"equilibrium": dict(model="equilibrium"), "plain loop": {}}
# how much a step is shaken at test; val chooses, for many starts and for each longer one
SHAKES = {"equilibrium": (0.01, 0.1, 0.5), "plain loop": (0.0,)}


@torch.no_grad()
def restart(model, tokens, loops, starts):
    """
    Each start from noise: the boards (starts, N, cells), and how far their last three loops moved
    (starts, N).
    """
    boards, movement = [], []
    for _ in range(starts):
        noise = torch.randn(*tokens.shape, model.config.n_embd)
        states = list(deque(model.states(tokens, loops, h=noise), maxlen=4))
        boards.append(filled(tokens, model.readout(states[-1])))
        movement.append(sum(moved(model, before, h) for before, h in zip(states, states[1:])))
    return torch.stack(boards), torch.stack(movement)


def choices(task, boards, movement, size):
    """
    The starts in groups of `size`: the share of the boards (starts, N, cells) that are right if
    each group gives the answer that stands stillest, or the most frequent one; and if an oracle
    chooses.
    """
    right = task.boards.solved(boards.flatten(0, 1)).float()
    right = right.view(-1, size, boards.shape[1])  # (groups, size, N)
    boards = boards.view(-1, size, *boards.shape[1:])
    agree = (boards[:, :, None] == boards[:, None]).all(-1).sum(2)  # how many say the same
    stillest, vote = movement.view_as(right).argmin(1), agree.argmax(1)  # (groups, N)
    return {
        "stillest": right.gather(1, stillest[:, None]).mean().item(),
        "vote": right.gather(1, vote[:, None]).mean().item(),
        "oracle": right.amax(1).mean().item(),
    }


def measure(lab):
    fewer = dict(puzzles=2000) if lab.tiny else {}
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags | fewer)
        longer, wider, on_val = {}, {}, {}
        for shake in SHAKES[name]:
            vars(model.config).update(noise=shake)
            for split in ("val", "test"):
                torch.manual_seed(stream(lab.seed, "starts"))
                longer[shake, split] = lab.by_loop(model, task, HARD, max(LONG), split)
                tokens = task.batch(split, 0, lab.examples, HARD).tokens
                wider[shake, split] = restart(model, tokens, DEEP, MOST)
            on_val[shake] = choices(task, *wider[shake, "val"], MOST)["stillest"]
        for loops in LONG:
            shake = max(SHAKES[name], key=lambda shake: longer[shake, "val"][loops - 1])
            right = longer[shake, "test"][loops - 1]
            yield dict(model=name, shake=shake, loops=loops, right=right)
        shake = max(on_val, key=on_val.get)
        for starts in STARTS:
            told = dict(model=name, shake=shake, starts=starts, loops_in_all=DEEP * starts)
            for choice, share in choices(task, *wider[shake, "test"], starts).items():
                yield told | dict(choice=choice, right=share)


def judge(table):
    def right(name="equilibrium", **where):
        return table.values("right", model=name, **where)

    few, many, most = (right(loops=loops) for loops in (L, DEEP, max(LONG)))
    one = right(starts=1, choice="vote")
    stillest, vote = (right(starts=MOST, choice=choice) for choice in ("stillest", "vote"))
    plain = right("plain loop", loops=DEEP)
    learned = {name: (right(name, loops=L), 0.5) for name in MODELS}
    to = dict(learned=learned, **BOARDS)
    parts = [
        more(f"{DEEP} loops solve more than {L}", many, few, **to),
        more(f"{MOST} starts solve more than one", stillest, one, **to),
        more("more than one start with as many loops in all", stillest, most, **to),
        as_good("rest chooses no worse than a vote", stillest, vote, 0.02, weak=few, **to),
        more("one start, better than that of the plain loop", many, plain, **to),
    ]
    longer = table.tell(["model", "loops"], dict(right=2), loops=(L, DEEP, max(LONG)))
    choice = ("vote", "stillest")
    wider = table.tell(
        ["model", "starts", "choice"], dict(right=2), starts=(1, MOST), choice=choice
    )
    return f"{longer}; {wider}", parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    for axis, name in zip(axes, MODELS):
        label = "one start, longer"
        table.plot(axis, "loops", "right", color=GREEN, label=label, model=name)
        for choice, color in {"oracle": GREY, "vote": ORANGE, "stillest": BLUE}.items():
            label = f"{choice} of 1..{MOST} starts of {DEEP} loops"
            where = dict(model=name, choice=choice)
            table.plot(axis, "loops_in_all", "right", color=color, label=label, **where)
        axis.set(title=name, xlabel="loops in all", xscale="log", xticks=LONG, xticklabels=LONG)
        axis.minorticks_off()
    axes[0].set(ylabel="6x6 boards right (test)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
