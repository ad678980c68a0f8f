"""
What each layer of each loop attends to, against the untied control

Do the loops repeat the same stages (Blayney et al. 2026)? Once the state is at rest every loop sees
the same state, so its attention must repeat, too: the distance between the attention patterns of
two layers is small in a dark square, or with several layers a loop in diagonal stripes. An untied
stack as deep has no reason to repeat itself.

stages.png is that distance, for all pairs of layers in the order in which they run. stages_more.png
follows four numbers from layer to layer: how attention is concentrated on few positions (ColSum)
and how it mixes them, how undecided the prediction is, and how different from each other the states
of the positions are.
"""

import math
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from analyses.common import add_examples, add_loops, load_looped
from looped import Attention
from support.figures import BLUE, ORANGE, WIDTH, plt, seeds_text, write
from tasks import IGNORE
from train import load_model, trained_loops

MANY = True


def add_flags(parser):
    add_loops(parser, "loops of the looped model (default: twice the most in training)")
    text = "questions of the hardest trained difficulty, at most 64 (default 500)"
    add_examples(parser, text)


# --------------------------------------------------------------------------------------------------
# Measure


@contextmanager
def watch_attention(model):
    """Gives a list, to which every attention that runs appends its pattern (B, H, T, T)."""
    patterns = []

    def watched(attention):
        def attend(q, k, v, bias):
            scores = q @ k.mT / q.shape[-1] ** 0.5
            if bias is not None:
                scores = scores + bias
            elif attention.causal:
                future = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
                scores = scores.masked_fill(future, -math.inf)
            patterns.append(scores.softmax(-1))
            return type(attention).attend(attention, q, k, v, bias)

        return attend

    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    for attention in attentions:  # a function in an object hides the method of its class
        attention.attend = watched(attention)
    try:
        yield patterns
    finally:
        for attention in attentions:
            del attention.attend


def entropy(p):
    """Of distributions along the last dimension, in nats."""
    return torch.special.entr(p).sum(-1)


@torch.no_grad()
def measure_stages(model, batch, loops):
    """
    What a model does layer by layer, averaged over questions of equal length. Its depth is the
    number of layers that run in all loops.
    """
    T, answers = batch.tokens.shape[1], batch.targets != IGNORE
    with watch_attention(model) as patterns:
        h = model.trajectory(batch.tokens, loops)
    patterns = patterns[len(model.prelude) :]
    if len(patterns) % loops or len({pattern.shape for pattern in patterns}) > 1:
        raise ValueError("the loops of this model do not all run the same layers on all positions")
    patterns = torch.stack(patterns)  # (depth, B, H, T, T)
    difference = []
    for pattern in patterns:
        norms = (patterns - pattern).flatten(3).norm(dim=3)  # (depth, B, H)
        difference.append(norms.mean((1, 2)).tolist())
    # how attention is shared out among the positions looked at, (depth, B, H, T)
    columns = patterns.sum(3) / T
    # (loops + 1, N, vocab_size)
    predictions = torch.stack([model.readout(each)[answers].softmax(-1) for each in h])
    states = model.proper_state(h)
    # of the positions' Gram matrix, (loops + 1, B, T)
    spectrum = torch.linalg.eigvalsh(states @ states.mT).clamp(min=0)
    return dict(
        layers=len(patterns) // loops,
        norm=model.config.norm,
        difference=difference,  # Frobenius norm, mean over heads and questions
        concentration=(1 - entropy(columns).mean((1, 2)) / math.log(T)).tolist(),  # ColSum
        mixing=entropy(patterns).mean((1, 2, 3)).tolist(),
        prediction_entropy=entropy(predictions).mean(1).tolist(),
        matrix_entropy=entropy(spectrum / spectrum.sum(-1, keepdim=True)).mean(1).tolist(),
    )


def repeats_from(difference, layers):
    """
    The first loop from which on each loop's attention is repeated by the next, to a tenth of the
    largest distance; None if there is none.
    """
    # of loop t to loop t + 1, the worst layer
    to_next = np.diagonal(difference, layers).reshape(-1, layers).max(1)
    steady = to_next < 0.1 * np.max(difference)
    return next((t + 1 for t in range(len(steady)) if steady[t:].all()), None)


# --------------------------------------------------------------------------------------------------
# Draw


def kinds_of(runs):
    """The kinds of models that all of these runs have, {kind: colour}."""
    if all(found["untied"] for found in runs):
        return {"looped": BLUE, "untied": ORANGE}
    return {"looped": BLUE}


def basis_of(numbers):
    seeds = seeds_text(len(numbers["runs"]))
    return f"{numbers['task']}, difficulty {numbers['difficulty']}, {seeds}"


def draw_stages(numbers):
    """The distance between the attention patterns of all pairs of layers, looped and untied."""
    runs = numbers["runs"]
    kinds, layers = kinds_of(runs), runs[0]["looped"]["layers"]
    matrices = {}
    for kind in kinds:
        matrices[kind] = np.mean([found[kind]["difference"] for found in runs], axis=0)
    size = (WIDTH, 4.4) if len(kinds) > 1 else (0.7 * WIDTH, 5.2)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, layout="constrained", squeeze=False)
    most = max(matrix.max() for matrix in matrices.values())
    said = []
    for axis, (kind, matrix) in zip(axes[0], matrices.items()):
        depth = len(matrix)
        extent = (0.5, depth + 0.5, 0.5, depth + 0.5)  # so that the first layer is 1
        style = dict(cmap="cividis", origin="lower", vmin=0, vmax=most)
        image = axis.imshow(matrix, extent=extent, **style)
        for direction in (axis.xaxis, axis.yaxis):
            locator = plt.MaxNLocator(integer=True, steps=[1, 2, 5, 10])
            direction.set_major_locator(locator)
            direction.set_label_text("layer, in the order of running")
        a_loop = f"{layers} layer{'s' if layers > 1 else ''} a loop"
        axis.set_title(f"{kind}: {a_loop}, {runs[0][kind]['norm']}-norm")
        loop = repeats_from(matrix, layers)
        said.append(f"from loop {loop} on ({kind})" if loop else f"never ({kind})")
    label = "distance (Frobenius norm, mean over heads)"
    figure.colorbar(image, ax=axes, label=label, shrink=0.8)
    title = f"Loops look at the same places again: {', '.join(said)}"
    figure.suptitle(f"{title}\n({basis_of(numbers)})")
    return figure


def draw_more(numbers):
    """Four numbers from layer to layer, thin for a seed, bold for the mean."""
    runs = numbers["runs"]
    kinds, layers = kinds_of(runs), runs[0]["looped"]["layers"]
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.4), layout="constrained", sharex=True)
    panels = {
        "concentration": ("Attention: concentration", "1: all on one position"),
        "mixing": ("Attention: how many positions it mixes", "entropy of a row (nats)"),
        "prediction_entropy": ("How undecided the prediction is", "entropy (nats)"),
        "matrix_entropy": ("How different the positions' states are", "matrix entropy (nats)"),
    }
    for axis, (key, (title, label)) in zip(axes.flat, panels.items()):
        for kind, color in kinds.items():
            curves = np.array([found[kind][key] for found in runs])
            depth = layers * np.arange(curves.shape[1])  # a value for each loop, and one before
            if key in ("concentration", "mixing"):
                depth = 1 + np.arange(curves.shape[1])  # a value for each layer
            axis.plot(depth, curves.T, color=color, lw=0.7, alpha=0.5)
            axis.plot(depth, curves.mean(0), color=color, lw=2.2, label=kind)
        axis.set_title(title)
        axis.set_ylabel(label)
    axes[0, 0].legend()
    for axis in axes[1]:
        axis.set_xlabel("layers run")
    said = []
    for kind in kinds:
        mean = np.mean([found[kind]["prediction_entropy"] for found in runs], axis=0)
        undecided = mean >= 0.1
        loops = np.flatnonzero(undecided).max(initial=-1) + 1  # after so many it is decided
        said.append(f"{'never' if undecided[-1] else f'from layer {layers * loops} on'} ({kind})")
    title = f"Predictions are decided (below 0.1 nats) {', '.join(said)}"
    figure.suptitle(f"{title}\n({basis_of(numbers)})")
    return figure


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    found = []
    needs = ("trajectory", "readout", "proper_state", "prelude")
    loaded = load_looped(runs, args.device, needs)
    bar = tqdm(list(zip(runs, loaded)), desc="stages", leave=False, disable=None)
    for run, (model, task, flags) in bar:
        hardest = task.max_difficulty if task.grows else task.difficulties("test")[-1]
        batch = task.batch("test", 0, min(args.examples, 64), hardest)
        loops = args.loops or 2 * trained_loops(flags, task)["largest"]
        each = dict(seed=flags.seed, looped=measure_stages(model, batch, loops), untied=None)
        if (run / "control" / "checkpoint.pt").exists():
            untied, _, _ = load_model(run / "control", args.device)
            each["untied"] = measure_stages(untied, batch, untied.config.loops)
        found.append(each)
    numbers = dict(task=flags.task, difficulty=hardest, runs=found)
    print("loop from which the next repeats the attention:")
    for each in found:
        said = []
        for kind in kinds_of(found):
            loop = repeats_from(each[kind]["difference"], each[kind]["layers"])
            said.append(f"{kind} {loop or 'never'}")
        print(f"    seed {each['seed']}: {', '.join(said)}")
    write(runs[0], "stages", draw_stages(numbers), numbers)
    write(runs[0], "stages_more", draw_more(numbers))
