"""
fixedpoint_more.png, the second picture of `analyze.py fixedpoint`: right against wrong answers, the
layers of the core, how well rest predicts a right answer, and the ways of five questions in a
plane.
"""

import numpy as np
import torch

from support.figures import BLUE, GREY, ORANGE, WIDTH, plt, seeds_text


def in_a_plane(paths):
    """States (loops + 1, N, C) of N questions, in the two directions in which they differ most."""
    flat = paths.flatten(0, 1)
    flat = flat - flat.mean(0)
    two = torch.linalg.svd(flat, full_matrices=False).Vh[:2]  # (2, C)
    return (flat @ two.T).view(*paths.shape[:2], 2)


def draw_more(numbers):
    """Right against wrong, layer by layer, rest as a prediction, and a few ways in a plane."""
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(WIDTH, 7), layout="constrained")
    loops = numbers["loops"]
    steps = range(1, loops + 1)
    for axis in (a, b, c):
        axis.axvline(numbers["trained_loops"], color=GREY, lw=1, ls="--")
        axis.set(xlabel="loop (dashed: the most in training)", xscale="log")
    for name, color in (("right", BLUE), ("wrong", ORANGE)):
        if movement := numbers[f"movement_if_{name}"]:
            a.plot(steps, movement, color=color, lw=2, label=f"{name} in the end")
    a.legend()
    a.set(yscale="log", ylabel="|h_t - h_(t-1)| / |h_t|, median")
    a.set_title("Movement, right against wrong answers")
    layers = len(numbers["distance"])
    for layer, distance in enumerate(numbers["distance"]):
        color = plt.cm.cividis(0.9 * layer / layers)
        b.plot(steps[:-1], distance[:-1], color=color, lw=2, label=f"layer {layer} of the core")
    b.legend()
    b.set(yscale="log", ylabel="|h_t - h_end| / |h_end|, median")
    b.set_title("Distance to the last state")
    c.axhline(0.5, color=GREY, lw=1)
    c.set(ylim=(0, 1.03), ylabel="AUROC (0.5: chance)")
    c.plot(steps, numbers["auroc"], color=BLUE, lw=2, label="all pairs of questions")
    c.plot(steps, numbers["auroc_within"], color=ORANGE, lw=2, label="pairs of equal difficulty")
    c.legend(loc="lower right")
    c.set_title("How well rest predicts a right answer")
    plane = np.array(numbers["paths"])  # (loops + 1, 5, 2)
    for i in range(plane.shape[1]):
        color = plt.cm.cividis(i / 4)
        d.plot(*plane[:, i].T, ".-", lw=1, ms=4, color=color)
        d.plot(*plane[-1, i], "*", ms=13, color=color, mec="k")
    d.set(xlabel="first principal component", ylabel="second principal component")
    d.set_title("The answer's state, five questions (star: end)")
    elsewhere, usual = numbers["right_from_another's end"], numbers["right"]
    title = f"{numbers['task']}: begun where another question ended, {elsewhere:.2f} are right; "
    title += f"usually {usual:.2f}"
    figure.suptitle(f"{title} ({seeds_text(numbers['seeds'])})")
    return figure
