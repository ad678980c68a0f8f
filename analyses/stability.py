"""
No run needed: norms, injections and learning rates, with and without training

Which loops keep their state in bounds? Two grids, three seeds in each cell. The injections are
those of looped.py and "diagonal", which is that of Parcae (papers/parcae.py).

At random weights (Blayney et al. 2026): norm x injection, 12 layers, 128 loops. How far does the
last loop still move the state, and does every layer end in a direction of its own? A core whose
layers all end in one direction (cosine 1) has a fixed point, but a degenerate one: no layer changes
the direction of the state. A state that grows by equal steps moves by 1 / t in loop t, so 0.008
after 128 loops is no rest.

In training (Parcae 2026): learning rate x injection, a small pre-norm loop that learns addition
with 8 loops on average. What has it learned, and how large is its state when it loops 32 times?
"""

import math
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

import train
from analyses.common import add_steps
from analyses.fixedpoint import layered, relative
from looped import Config, LoopedGPT
from papers.parcae import Parcae, ParcaeConfig
from support.figures import WIDTH, plt, seeds_text, write
from support.hashing import stream

MANY, NEEDS_RUN = False, False
SEEDS = (0, 1, 2)
NORMS, INJECTIONS = ("pre", "post", "sandwich"), ("none", "add", "concat", "diagonal")
# standard deviations: 1 / sqrt(64), which keeps the scale of an input of width 64, and GPT-2's
WEIGHTS = (0.125, 0.02)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
TRAINING = "--task addition --norm pre --n_prelude 1 --n_coda 1 --sampler poisson --loops 8 "
TRAINING += "--no-curriculum --clip 0 --eval_size 10 --device cpu --overwrite"


def add_flags(parser):
    add_steps(parser)


# --------------------------------------------------------------------------------------------------
# Measure


@torch.no_grad()
def measure_untrained(norm, injection, std, seeds, loops=128, layers=12, C=64, T=16):
    """
    A core with random weights of a standard deviation: the movement of the last loop, the size of
    the state (RMS), and the least cosine between the last states of two layers. Medians of seeds.
    """
    rows = []
    for seed in seeds:
        torch.manual_seed(stream(seed, "untrained"))
        sizes = dict(vocab_size=64, n_embd=C, n_core=layers, position="rope", norm=norm)
        if injection == "diagonal":
            model = Parcae(ParcaeConfig(**sizes))
        else:
            model = LoopedGPT(Config(**sizes, injection=injection))
        matrices = [p for p in model.core.parameters() if p.dim() > 1]
        if injection == "concat":
            matrices.append(model.inject.weight)
        for matrix in matrices:
            torch.nn.init.normal_(matrix, std=std)
        states, layered_states = layered(model, torch.randint(64, (4, T)), loops)
        ends = layered_states[-1].flatten(2)  # (layers, B, T * C)
        cosine = F.cosine_similarity(ends[:, None], ends[None], dim=-1).mean(2).min().item()
        movement = relative(states[-2], states[-1]).mean().item()
        size = states[-1].norm(dim=-1).mean().item() / C**0.5
        rows.append((movement, size, cosine))
    movement, size, cosine = np.median(rows, axis=0).tolist()
    return dict(movement=movement, size=size, cosine=cosine)


def measure_trained(lr, injection, seed, steps, folder):
    """
    Train a small pre-norm loop for addition: the loss on val after 8 loops (nats), the size of the
    state (RMS) after 8 and 32, and the spectral radius of the loop's linear part. Infinite if
    training diverged.
    """
    argv = [*TRAINING.split(), "--lr", str(lr), "--seed", str(seed), "--out", str(folder)]
    argv += ["--steps", str(steps), "--eval_every", str(steps)]
    argv += ["--model", "parcae"] if injection == "diagonal" else ["--injection", injection]
    try:
        with open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
            train.main(argv)
    except SystemExit as stop:
        if stop.code != 1:  # 1: the loss was no number any more
            raise
        return dict(loss=math.inf, size_8=math.inf, size_32=math.inf, radius=math.inf)
    if not (folder / "metrics.jsonl").read_text():
        raise KeyboardInterrupt  # training has answered it by stopping early
    model, task, _ = train.load_model(folder)
    batch, C = task.batch("val", 0, 200), model.config.n_embd
    with torch.no_grad():
        loss, _ = model.loss(batch.tokens, batch.targets, torch.full((200,), 8))
        sizes = model.trajectory(batch.tokens, 32).norm(dim=-1).mean((1, 2)) / C**0.5
        linear = torch.eye(C)
        if injection == "diagonal":
            linear = torch.diag(model.inject.decay())
        if injection == "concat":
            linear = model.inject.weight[:, :C]
        radius = torch.linalg.eigvals(linear).abs().max().item()
    return dict(loss=loss.item(), size_8=sizes[8].item(), size_32=sizes[32].item(), radius=radius)


# --------------------------------------------------------------------------------------------------
# Draw


def draw_stability(numbers):
    """Above: random weights. Below: after training."""
    random, trained, seeds = numbers["random"], numbers["trained"], seeds_text(numbers["seeds"])
    figure = plt.figure(figsize=(WIDTH, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(6, 5))
    left, right = above.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(f"{row['norm']}, {row['std']}" for row in random))
    draw_grid(left, random, "movement", names, "Movement in the last of 128 loops", log=True)
    draw_grid(right, random, "cosine", names, "Least cosine of two layers' ends")
    left.set_ylabel("norm, standard deviation")
    counts = []
    for std in WEIGHTS:
        rests = [row["movement"] < 1e-5 for row in random if row["std"] == std]
        counts.append(f"{sum(rests)} of {len(rests)} (weights {std})")
    above.suptitle(f"Random loops that rest: {', '.join(counts)}; {seeds}")
    left, right = below.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(f"{row['lr']:g}" for row in trained))
    draw_grid(left, trained, "loss", names, f"Loss after {numbers['steps']} steps (nats)")
    size = "Size of the state after 32 loops (RMS)"
    draw_grid(right, trained, "size_32", names, size, log=True)
    left.set_ylabel("learning rate")
    below.suptitle(f"{title_of(trained)}; {seeds}")
    return figure


def draw_grid(axis, rows, key, names, title, log=False):
    """A table (names, injections) of numbers, coloured by size or by its logarithm."""
    injections = list(dict.fromkeys(row["injection"] for row in rows))
    values = [np.inf if row[key] is None else row[key] for row in rows]
    table = np.array(values).reshape(len(names), len(injections))
    table[~np.isfinite(table)] = np.nan  # diverged
    shade = np.log10(np.maximum(table, 1e-9)) if log else table
    axis.imshow(shade, cmap="cividis", aspect="auto")
    darkest, span = np.nanmin(shade), np.ptp(shade[np.isfinite(shade)])
    for (y, x), value in np.ndenumerate(table):
        dark = shade[y, x] < darkest + 0.6 * span
        style = dict(ha="center", va="center", size=10, color="w" if dark else "k")
        axis.text(x, y, in_print(value, log), **style)
    axis.set_xticks(range(len(injections)), injections)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="injection")
    axis.set_title(title)


def in_print(value, log):
    if np.isnan(value):
        return "diverged"
    if log and not 0.1 <= value < 1e5:
        return f"{value:.0e}"
    return f"{value:,.0f}" if value > 20 else f"{value:.2f}"


def title_of(trained):
    """With which injections the state is as large after 32 loops as after 8, at every rate."""
    growth = {}
    for row in trained:
        ratio = row["size_32"] / row["size_8"] if row["size_32"] and row["size_8"] else math.inf
        growth.setdefault(row["injection"], []).append(ratio)
    steady = [name for name, ratios in growth.items() if max(ratios) < 1.1]
    found = "the state grows with every injection"
    if steady:
        found = f"only with {' and '.join(steady)} the state does not grow"
    return f"Trained with 8 loops, run for 32: {found}"


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    folder, random, trained = runs[0], [], []
    folder.mkdir(parents=True, exist_ok=True)
    head = "last movement   size of the state   least cosine of two layers' ends"
    print(f"random weights, 128 loops        {head}")
    cells = list(product(WEIGHTS, NORMS, INJECTIONS))
    for std, norm, injection in tqdm(cells, desc="random weights", leave=False, disable=None):
        row = measure_untrained(norm, injection, std, SEEDS)
        random.append(dict(norm=norm, std=std, injection=injection, **row))
        text = f"{f'{norm}, {std}':>16} {injection:>9}   {row['movement']:>16.1e}"
        tqdm.write(f"{text} {row['size']:>19.1f} {row['cosine']:>26.3f}")
    head = "loss of each seed   size after 8, 32 loops   spectral radius"
    print(f"training, pre-norm, {args.steps} steps   {head}")
    cells = list(product(RATES, INJECTIONS))
    with tempfile.TemporaryDirectory() as scratch:
        for rate, injection in tqdm(cells, desc="training", leave=False, disable=None):
            each = []
            for seed in SEEDS:
                each.append(measure_trained(rate, injection, seed, args.steps, Path(scratch)))
            diverged = sum(found["loss"] == math.inf for found in each)
            row = dict(lr=rate, injection=injection, diverged=diverged)
            for key in each[0]:
                row[key] = float(np.median([found[key] for found in each]))
            trained.append(row)
            losses = ", ".join(f"{found['loss']:.3f}" for found in each)
            sizes = f"{row['size_8']:>11.1f} {row['size_32']:>10.1f} {row['radius']:>17.3f}"
            tqdm.write(f"{rate:>16} {injection:>9} {losses:>24} {sizes}")
    numbers = dict(seeds=list(SEEDS), steps=args.steps, random=random, trained=trained)
    write(folder, "stability", draw_stability(numbers), numbers)
