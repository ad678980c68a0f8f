"""
The lessons' own answers. Beside each are its usual mistakes, with what a reader is told who makes
one. In a notebook, `??solutions.scan` shows an answer.
"""

import copy
import math

import torch
from torch.nn import functional as F

from analyses.lens import as_given

# --------------------------------------------------------------------------------------------------
# 1: depth


@torch.no_grad()
def scan(model, task, hops, loops):
    rows = []
    for n in hops:
        batch = task.batch("test", 0, 200, n)
        row = []
        for h in model.states(batch.tokens, loops):
            right = task.check(batch, model.readout(h).argmax(-1))
            row.append(right.float().mean().item())
        rows.append(row[1:])  # the first state is the one before the first loop
    return rows


@torch.no_grad()
def scan_otherwise(model, task, hops, loops, split="test", start=1, everywhere=False):
    rows = []
    for n in hops:
        batch = task.batch(split, 0, 200, n)
        read = [model.readout(h).argmax(-1) for h in model.states(batch.tokens, loops)]
        right = [said == batch.targets if everywhere else task.check(batch, said) for said in read]
        rows.append([each.float().mean().item() for each in right[start:]])
    return rows


scan_mistakes = [
    (
        lambda *all: scan_otherwise(*all, start=0),
        "the first state is the one before the first loop: leave it out",
    ),
    (lambda *all: scan_otherwise(*all, split="train"), "these questions are of the train split"),
    (
        lambda *all: scan_otherwise(*all, everywhere=True),
        "most positions have no answer (target -100): task.check grades a question",
    ),
]


def loops_needed(rows):
    needed = []
    for row in rows:
        enough = [t for t, accuracy in enumerate(row, 1) if accuracy >= 0.9]
        needed.append(enough[0] if enough else math.nan)
    return needed


loops_needed_mistakes = [
    (
        lambda rows: [t - 1 for t in loops_needed(rows)],
        "the first entry of a row is after 1 loop, not after 0",
    ),
]


def hide_far(model):
    model = copy.deepcopy(model)
    model.positions.bias.data[:, -1] = -torch.inf
    return model


def bias_set(model, distance, value):
    model.positions.bias.data[:, distance] = value
    return model


hide_far_mistakes = [
    (lambda model: model, "nothing is hidden"),
    (
        lambda model: bias_set(model, -1, 0),
        "a bias of 0 hides nothing: which number makes exp(score + bias) zero?",
    ),
    (
        lambda model: bias_set(model, 1, -torch.inf),
        "that hides the token before; the far ones have the last bias",
    ),
    (
        lambda model: bias_set(model, 0, -torch.inf),
        "that hides the token itself; the far ones have the last bias",
    ),
]

# --------------------------------------------------------------------------------------------------
# 2: grokking


@torch.no_grad()
def lens(model, tokens, loops):
    return torch.stack([model.readout(h).argmax(-1) for h in model.states(tokens, loops)])


lens_mistakes = [
    (lambda *all: lens(*all)[1:], "keep the state before the first loop, too"),
    (lambda *all: lens(*all)[-1], "that is the last state alone"),
]


@torch.no_grad()
def repair(model, tokens, loops):
    h = model.think(tokens, 1)
    bridge = model.readout(h)[:, 1].argmax(-1)  # (B,), what the lens reads at position 1
    given = as_given(model, bridge)  # (B, C)
    h[:, 1] = given / given.norm(dim=-1, keepdim=True) * h[:, 1].norm(dim=-1, keepdim=True)
    return model.readout(model.think(tokens, loops - 1, h=h))


@torch.no_grad()
def repair_otherwise(model, tokens, loops, at=1, more=-1, equal=True):
    h = model.think(tokens, 1)
    given = as_given(model, model.readout(h)[:, 1].argmax(-1))
    if equal:
        given = F.normalize(given, dim=-1) * h[:, at].norm(dim=-1, keepdim=True)
    h[:, at] = given
    return model.readout(model.think(tokens, loops + more, h=h))


repair_mistakes = [
    (lambda model, tokens, loops: model(tokens, loops), "nothing is overwritten"),
    (lambda *all: repair_otherwise(*all, more=0), "that is a loop too many: one was done before"),
    (
        lambda *all: repair_otherwise(*all, equal=False),
        "give the new state the length of the old one",
    ),
    (
        lambda *all: repair_otherwise(*all, at=2),
        "that overwrites position 2; the bridge is read at position 1",
    ),
]

# --------------------------------------------------------------------------------------------------
# 3: fixed points


def movement(states):
    moved = (states[1:] - states[:-1]).flatten(2)  # (loops, B, T * C)
    return moved.norm(dim=2) / states[1:].flatten(2).norm(dim=2)


def movement_in_lengths_before(states):
    length = states.flatten(2).norm(dim=2)
    return movement(states) * length[1:] / length[:-1]


movement_mistakes = [
    (
        lambda states: (states[1:] - states[:-1]).flatten(2).norm(dim=2),
        "divide by the length of the state",
    ),
    (movement_in_lengths_before, "divide by the length of the state after the loop, not before"),
    (
        lambda states: (states[1:] - states[:-1]).norm(dim=-1) / states[1:].norm(dim=-1),
        "one number for each question: take the length over all positions and channels together",
    ),
]


def for_good(holds):
    return len(holds) + 1 - holds.flip(0).long().cumprod(0).sum(0)


for_good_mistakes = [
    (lambda holds: for_good(holds) - 1, "loops count from 1"),
    (
        lambda holds: holds.long().argmax(0) + 1,
        "true once is not enough: it has to stay true to the end",
    ),
]


@torch.no_grad()
def distances(model, tokens, start, end, loops):
    states = model.trajectory(tokens, loops, h=start)
    return (states - end).flatten(2).norm(dim=2) / end.flatten(1).norm(dim=1)


distances_mistakes = [
    (
        lambda model, tokens, start, *all: distances(model, tokens, None, *all),
        "that begins at the usual start",
    ),
]

# --------------------------------------------------------------------------------------------------
# 4: papers


def larger():
    return """
x Z;
Z t;
Z Z;
y t stop;
t Z;
Z y;
Z Z;
stop: Z Z stop;
"""


larger_mistakes = [
    (
        lambda: larger().replace("y t stop", "y t"),
        "y is always x in the end: without a label, <= 0 goes on as well",
    ),
    (
        lambda: "x Z; Z t; Z Z; y t go; Z Z stop; go: t Z; Z y; Z Z; stop: Z Z stop;",
        "that is the smaller of the two",
    ),
    (
        lambda: larger().replace("y t stop;", ""),
        "y is x + y in the end: t is to be the difference",
    ),
    (
        lambda: larger().replace("t Z;\nZ y;\nZ Z;", "t y;"),
        "that is y - t: to add, subtract from Z first",
    ),
    (
        lambda: larger().replace("Z Z;\ny t", "y t"),
        "Z is used again without being zero: Z Z first",
    ),
    (
        lambda: larger().replace("stop: Z Z stop", "stop: Z Z"),
        "it runs on into its data: end with a jump to itself",
    ),
]


def descent_step(w, x, y, rate):
    return w - rate * x.mT @ (x @ w - y) / x.shape[1]


def descent_otherwise(w, x, y, rate, times):
    return descent_step(w, x, y, rate * times(x))


descent_step_mistakes = [
    (lambda w, x, y, rate: w + (w - descent_step(w, x, y, rate)), "that goes up the slope"),
    (
        lambda *all: descent_otherwise(*all, lambda x: x.shape[1]),
        "divide by the number of pairs: a mean, not a sum",
    ),
    (
        lambda *all: descent_otherwise(*all, lambda x: 2),
        "half of the error is differentiated: no 2 is left",
    ),
    (
        lambda *all: descent_otherwise(*all, lambda x: 1 / len(x)),
        "each prompt has a w of its own: no mean over these",
    ),
    (
        lambda w, x, y, rate: descent_step(w, x, y, rate) - w,
        "that is the step alone: add it to w",
    ),
]


def exit_probability(stop):
    still_going = (1 - stop).cumprod(0)  # after 1, 2, .. loops
    return stop * torch.cat((torch.ones_like(stop[:1]), still_going[:-1]))


exit_probability_mistakes = [
    (
        lambda stop: stop,
        "that is the chance if it is still going: it must not have stopped before",
    ),
    (
        lambda stop: stop * (1 - stop).cumprod(0),
        "it has not stopped in loops 1 to t - 1; leave out loop t itself",
    ),
    (lambda stop: (1 - stop).cumprod(0), "that is the chance to be still going"),
    (
        lambda stop: stop * (1 - stop).cumprod(0).roll(1, 0),
        "in the first loop nothing has stopped before: factor 1",
    ),
    (lambda stop: exit_probability(stop.T).T, "loops are the first dimension, 0"),
]


@torch.no_grad()
def leak(model, tokens):
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % model.config.vocab_size
    return (model(changed) - model(tokens))[:, :-1].abs().max().item()


@torch.no_grad()
def leak_otherwise(model, tokens, change=-1, seen=slice(None), size=torch.abs):
    changed = tokens.clone()
    changed[:, change] = (changed[:, change] + 1) % model.config.vocab_size
    return size((model(changed) - model(tokens))[:, seen]).max().item()


leak_mistakes = [
    (leak_otherwise, "the last position may see the last token: look at those before it"),
    (
        lambda *all: leak_otherwise(*all, change=0),
        "that changes the first token, which all may see",
    ),
    (
        lambda *all: leak_otherwise(*all, seen=slice(-1), size=torch.Tensor.clone),
        "a change can be negative, too",
    ),
    (lambda model, tokens: 0.0, "both texts are the same: `clone` before you change one"),
]


def run_layers(model, x):
    """The states (B, T, C) of a model whose layers run once on the inputs x (B, T, C)."""
    positions = model.positions(x)
    for block in model.core:
        x = block(x, positions)
    return x


@torch.no_grad()
def latent_thoughts(model, x, thoughts):
    for _ in range(thoughts):
        h = run_layers(model, x)
        x = torch.cat((x, h[:, -1:]), dim=1)
    return run_layers(model, x)[:, -1]


@torch.no_grad()
def written_steps(model, x, thoughts):
    """
    The other way, beside which the lesson puts it: each state is decoded to its likeliest name,
    which is then read as any name is.
    """
    for _ in range(thoughts):
        last = run_layers(model, x)[:, -1:]
        e = model.prelude_norm(model.embed(model.head(last).argmax(-1)))
        x = torch.cat((x, model.inject(e, e)), dim=1)
    return run_layers(model, x)[:, -1]


@torch.no_grad()
def thoughts_everywhere(model, x, thoughts):
    for _ in range(thoughts):
        h = run_layers(model, x)
        x = torch.cat((h, h[:, -1:]), dim=1)
    return run_layers(model, x)[:, -1]


latent_thoughts_mistakes = [
    (
        lambda model, x, thoughts: latent_thoughts(model, x, thoughts - 1),
        "run the layers once more at the end",
    ),
    (written_steps, "that decodes: put the state itself behind x"),
    (thoughts_everywhere, "only the last state is put behind x; the rest of x stays"),
    (lambda model, x, thoughts: latent_thoughts(model, x, 0), "there are no thoughts"),
]
