"""
What each layer of each loop attends to, against the untied control

Do the loops repeat the same stages (Blayney et al. 2026)? Once the state is at rest every loop sees the same state, so
its attention must repeat, too: the distance between the attention patterns of two layers is small in a dark square, or
with several layers a loop in diagonal stripes. An untied stack as deep has no reason to repeat itself.

stages.png is that distance, for all pairs of layers in the order in which they run. stages_more.png follows four
numbers from layer to layer: how attention is concentrated on few positions (ColSum) and how it mixes them, how
undecided the prediction is, and how different from each other the states of the positions are.
"""

import math
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from analyses.common import add_examples, add_loops, load_looped, main_of
from attention import Attention
from figures import BLUE, ORANGE, WIDTH, plt, seeds_text, write
from tasks import IGNORE
from train import load_model, trained_loops

MANY = True


def add_flags(parser):
    add_loops(parser, help="loops of the looped model (default: twice the most in training)")
    add_examples(parser, help="questions of the hardest trained difficulty, at most 64 (default 500)")


# -----------------------------------------------------------------------------
# measure


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
    for attention in attentions:
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
    """What a model does layer by layer (depth: loops * n_core layers), averaged over questions of equal length."""
    T, answers = batch.tokens.shape[1], batch.targets != IGNORE
    with watch_attention(model) as patterns:
        states = model.trajectory(batch.tokens, loops)
    patterns = torch.stack(patterns[model.config.n_prelude :])  # (depth, B, H, T, T)
    difference = [(patterns - one).flatten(3).norm(dim=3).mean((1, 2)).tolist() for one in patterns]
    columns = patterns.sum(3) / T  # (depth, B, H, T): how attention is shared out among the positions looked at
    predictions = torch.stack([model.readout(h, answers).softmax(-1) for h in states])  # (loops + 1, N, vocab)
    spectrum = torch.linalg.eigvalsh(states @ states.mT).clamp(min=0)  # of the positions' Gram matrix (loops + 1, B, T)
    return dict(
        layers=model.config.n_core,
        norm=model.config.norm,
        difference=difference,  # Frobenius norm, mean over heads and questions
        concentration=(1 - entropy(columns).mean((1, 2)) / math.log(T)).tolist(),  # ColSum (Blayney 2026)
        mixing=entropy(patterns).mean((1, 2, 3)).tolist(),
        prediction_entropy=entropy(predictions).mean(1).tolist(),
        matrix_entropy=entropy(spectrum / spectrum.sum(-1, keepdim=True)).mean(1).tolist(),
    )


def repeats_from(difference, layers):
    """The first loop whose attention the next loop repeats, to a tenth of the largest distance, to the end; or None."""
    to_next = np.diagonal(difference, layers).reshape(-1, layers).max(1)  # of loop t to loop t + 1, the worst layer
    steady = to_next < 0.1 * np.max(difference)
    return next((t + 1 for t in range(len(steady)) if steady[t:].all()), None)


# -----------------------------------------------------------------------------
# draw


def kinds_of(runs):
    """Whom all of these runs have: {kind: colour}."""
    return {"looped": BLUE, "untied": ORANGE} if all(found["untied"] for found in runs) else {"looped": BLUE}


def draw_stages(numbers):
    """The distance between the attention patterns of all pairs of layers, looped and untied."""
    runs = numbers["runs"]
    kinds, layers = kinds_of(runs), runs[0]["looped"]["layers"]
    matrices = {kind: np.mean([found[kind]["difference"] for found in runs], axis=0) for kind in kinds}
    size = (WIDTH, 4.4) if len(kinds) > 1 else (0.7 * WIDTH, 5.2)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, layout="constrained", squeeze=False)
    most = max(matrix.max() for matrix in matrices.values())
    said = []
    for axis, (kind, matrix) in zip(axes[0], matrices.items()):
        depth = len(matrix)
        corners = (0.5, depth + 0.5, 0.5, depth + 0.5)  # so that the first layer is 1
        image = axis.imshow(matrix, cmap="cividis", origin="lower", vmin=0, vmax=most, extent=corners)
        for direction in (axis.xaxis, axis.yaxis):
            direction.set_major_locator(plt.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axis.set(xlabel="layer, in the order of running", ylabel="layer, in the order of running")
        axis.set_title(f"{kind}: {layers} layer{'s' * (layers > 1)} a loop, {runs[0][kind]['norm']}-norm")
        loop = repeats_from(matrix, layers)
        said.append(f"from loop {loop} on ({kind})" if loop else f"never ({kind})")
    figure.colorbar(image, ax=axes, label="distance (Frobenius norm, mean over heads)", shrink=0.8)
    title = f"Loops look at the same places again: {', '.join(said)}"
    figure.suptitle(f"{title}\n({numbers['task']}, difficulty {numbers['difficulty']}, {seeds_text(len(runs))})")
    return figure


def draw_more(numbers):
    """Four numbers from layer to layer, thin for a seed, bold for the mean."""
    runs = numbers["runs"]
    kinds, layers = kinds_of(runs), runs[0]["looped"]["layers"]
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.4), layout="constrained", sharex=True)
    panels = {
        "concentration": ("Attention: concentration", "1: all on one position", 1),
        "mixing": ("Attention: how many positions it mixes", "entropy of a row (nats)", 1),
        "prediction_entropy": ("How undecided the prediction is", "entropy (nats)", layers),
        "matrix_entropy": ("How different the positions' states are", "matrix entropy (nats)", layers),
    }
    for axis, (key, (title, label, every)) in zip(axes.flat, panels.items()):
        for kind, color in kinds.items():
            curves = np.array([found[kind][key] for found in runs])
            depth = every * np.arange(curves.shape[1]) + (key in ("concentration", "mixing"))  # these begin at layer 1
            axis.plot(depth, curves.T, color=color, lw=0.7, alpha=0.5)
            axis.plot(depth, curves.mean(0), color=color, lw=2.2, label=kind)
        axis.set_title(title)
        axis.set_ylabel(label)
    axes[0, 0].legend()
    for axis in axes[1]:
        axis.set_xlabel("layers run")
    said = []
    for kind in kinds:
        undecided = np.mean([found[kind]["prediction_entropy"] for found in runs], axis=0) >= 0.1
        decided = layers * (np.flatnonzero(undecided).max(initial=-1) + 1)
        said.append(f"{'never' if undecided[-1] else f'from layer {decided} on'} ({kind})")
    title = f"Predictions are decided (below 0.1 nats) {', '.join(said)}"
    figure.suptitle(f"{title}\n({numbers['task']}, difficulty {numbers['difficulty']}, {seeds_text(len(runs))})")
    return figure


# -----------------------------------------------------------------------------
# say


def main(runs, args):
    found = []
    for run, (model, task, flags) in zip(runs, tqdm(load_looped(runs, args.device), desc="stages", leave=False)):
        hardest = task.max_difficulty if task.grows else task.difficulties("test")[-1]
        batch = task.batch("test", 0, min(args.examples, 64), hardest)
        loops = args.loops or 2 * trained_loops(flags, task)["largest"]
        found.append(dict(seed=flags.seed, looped=measure_stages(model, batch, loops), untied=None))
        if (run / "control" / "checkpoint.pt").exists():
            untied, _, _ = load_model(run / "control", args.device)
            found[-1]["untied"] = measure_stages(untied, batch, untied.config.loops)
    numbers = dict(task=flags.task, difficulty=hardest, runs=found)
    print("loop from which the next repeats the attention:")
    for each in found:
        loops = {kind: repeats_from(each[kind]["difference"], each[kind]["layers"]) for kind in kinds_of(found)}
        print(f"    seed {each['seed']}: " + ", ".join(f"{kind} {loop or 'never'}" for kind, loop in loops.items()))
    write(runs[0], "stages", draw_stages(numbers), numbers)
    write(runs[0], "stages_more", draw_more(numbers))


if __name__ == "__main__":
    main_of("stages")
