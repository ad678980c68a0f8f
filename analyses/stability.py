"""
No run needed: norms, injections and learning rates, at random weights and in short training

Which loops keep their state in bounds? Two grids, three seeds in each cell.

At random weights (Blayney et al. 2026): norm x injection, 12 layers, 128 loops. How far does the last loop still move
the state, and does every layer end in a direction of its own? A core whose layers all end in one direction (cosine 1)
has a fixed point, but a degenerate one: no layer changes the direction of the state. A state that grows by equal steps
moves by 1 / t in loop t: 0.008 after 128 loops is no rest.

In training (Parcae 2026): learning rate x injection, a small pre-norm loop that learns addition with 8 loops on
average. What has it learned, and how large is its state when it loops 32 times?
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
from analyses.common import add_steps, main_of
from analyses.fixedpoint import layered, relative
from figures import WIDTH, plt, seeds_text, write
from looped import Config, LoopedGPT
from tasks import stream

MANY, NEEDS_RUN = False, False
SEEDS = (0, 1, 2)
NORMS, INJECTIONS = ("pre", "post", "sandwich"), ("none", "add", "concat", "diagonal")
WEIGHTS = (0.125, 0.02)  # standard deviations: 1 / sqrt(64), which keeps the scale of an input of width 64, and GPT-2's
RATES = (1e-3, 3e-3, 1e-2, 3e-2)


def add_flags(parser):
    add_steps(parser)


# -----------------------------------------------------------------------------
# measure


@torch.no_grad()
def measure_untrained(norm, injection, std, seeds, loops=128, layers=12, C=64, T=16):
    """
    A core with random weights of a standard deviation: the movement of the last loop, the size of the state (RMS), and
    the least cosine between the last states of two layers. Medians of seeds.
    """
    rows = []
    for seed in seeds:
        torch.manual_seed(stream(seed, "untrained"))
        sizes = dict(vocab_size=64, block_size=T, n_embd=C, n_core=layers, position="rope")
        model = LoopedGPT(Config(**sizes, norm=norm, injection=injection))
        matrices = [p for p in model.core.parameters() if p.dim() > 1]
        if injection == "concat":
            matrices.append(model.inject.weight)
        for matrix in matrices:
            torch.nn.init.normal_(matrix, std=std)
        states, layered_states = layered(model, torch.randint(64, (4, T)), loops)
        ends = layered_states[-1].flatten(2)  # (layers, B, T * C)
        movement = relative(states[-2], states[-1]).mean().item()
        size = states[-1].norm(dim=-1).mean().item() / C**0.5
        rows.append((movement, size, F.cosine_similarity(ends[:, None], ends[None], dim=-1).mean(2).min().item()))
    return dict(zip(("movement", "size", "cosine"), np.median(rows, axis=0).tolist()))


def measure_trained(lr, injection, seed, steps, folder):
    """
    Train a small pre-norm loop for addition: the loss on val after 8 loops (nats), the size of the state (RMS) after 8
    and 32, and the spectral radius of the loop's linear part. Infinite where training diverged.
    """
    argv = "--task addition --norm pre --n_prelude 1 --n_coda 1 --sampler poisson --loops 8 --no-curriculum --clip 0"
    argv += f" --injection {injection} --lr {lr} --seed {seed} --steps {steps} --eval_every {steps} --eval_size 10"
    try:
        with open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
            train.main([*argv.split(), "--device", "cpu", "--overwrite", "--out", str(folder)])
    except SystemExit as stop:
        if stop.code != 1:  # 1: the loss was no number any more
            raise
        return dict(loss=math.inf, size_8=math.inf, size_32=math.inf, radius=math.inf)
    if not (folder / "metrics.jsonl").read_text():
        raise KeyboardInterrupt  # which training has answered by stopping early
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


# -----------------------------------------------------------------------------
# draw


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
    rests = {std: [row["movement"] < 1e-5 for row in random if row["std"] == std] for std in WEIGHTS}
    counts = [f"{sum(each)} of {len(each)} (weights {std})" for std, each in rests.items()]
    above.suptitle(f"Random loops that rest: {', '.join(counts)}; {seeds}")
    left, right = below.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(f"{row['lr']:g}" for row in trained))
    draw_grid(left, trained, "loss", names, f"Loss after {numbers['steps']} steps (nats)")
    draw_grid(right, trained, "size_32", names, "Size of the state after 32 loops (RMS)", log=True)
    left.set_ylabel("learning rate")
    below.suptitle(f"{title_of(trained)}; {seeds}")
    return figure


def draw_grid(axis, rows, key, names, title, log=False):
    """A table (names, injections) of numbers, coloured by size or by its logarithm."""
    injections = list(dict.fromkeys(row["injection"] for row in rows))
    table = np.array([np.inf if row[key] is None else row[key] for row in rows]).reshape(len(names), len(injections))
    table[~np.isfinite(table)] = np.nan  # diverged
    shade = np.log10(np.maximum(table, 1e-9)) if log else table
    axis.imshow(shade, cmap="cividis", aspect="auto")
    for (y, x), value in np.ndenumerate(table):
        text = f"{value:.0e}" if log and not 0.1 <= value < 1e5 else f"{value:,.0f}" if value > 20 else f"{value:.2f}"
        text = "diverged" if np.isnan(value) else text
        dark = shade[y, x] < np.nanmin(shade) + 0.6 * np.ptp(shade[np.isfinite(shade)])
        axis.text(x, y, text, ha="center", va="center", size=10, color="w" if dark else "k")
    axis.set_xticks(range(len(injections)), injections)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="injection")
    axis.set_title(title)


def title_of(trained):
    """With which injections the state is as large after 32 loops as after 8, at every learning rate."""
    growth = {}
    for row in trained:
        ratio = row["size_32"] / row["size_8"] if row["size_32"] and row["size_8"] else math.inf
        growth.setdefault(row["injection"], []).append(ratio)
    steady = [name for name, ratios in growth.items() if max(ratios) < 1.1]
    if not steady:
        return "Trained with 8 loops, run for 32: the state grows with every injection"
    return f"Trained with 8 loops, run for 32: only with {' and '.join(steady)} the state does not grow"


# -----------------------------------------------------------------------------
# say


def main(runs, args):
    folder, random, trained = runs[0], [], []
    folder.mkdir(parents=True, exist_ok=True)
    print("random weights, 128 loops        last movement   size of the state   least cosine of two layers' ends")
    for std, norm, injection in tqdm(list(product(WEIGHTS, NORMS, INJECTIONS)), desc="random weights", leave=False):
        row = measure_untrained(norm, injection, std, SEEDS)
        random.append(dict(norm=norm, std=std, injection=injection, **row))
        name = f"{norm}, {std}"
        tqdm.write(f"{name:>16} {injection:>9}   {row['movement']:>16.1e} {row['size']:>19.1f} {row['cosine']:>26.3f}")
    print(f"training, pre-norm, {args.steps} steps   loss of each seed   size after 8, 32 loops   spectral radius")
    with tempfile.TemporaryDirectory() as scratch:
        for rate, injection in tqdm(list(product(RATES, INJECTIONS)), desc="training", leave=False):
            each = [measure_trained(rate, injection, seed, args.steps, Path(scratch)) for seed in SEEDS]
            losses = ", ".join(f"{found['loss']:.3f}" for found in each)
            row = dict(lr=rate, injection=injection, diverged=sum(found["loss"] == math.inf for found in each))
            row |= {key: float(np.median([found[key] for found in each])) for key in each[0]}
            trained.append(row)
            sizes = f"{row['size_8']:>11.1f} {row['size_32']:>10.1f} {row['radius']:>17.3f}"
            tqdm.write(f"{rate:>16} {injection:>9} {losses:>24} {sizes}")
    numbers = dict(seeds=list(SEEDS), steps=args.steps, random=random, trained=trained)
    write(folder, "stability", draw_stability(numbers), numbers)


if __name__ == "__main__":
    main_of("stability")
