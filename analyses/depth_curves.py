"""
What to read from the map of depth.py: the curves of depth_curves.png, and the laws fitted to them.
"""

import numpy as np

from figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt

SOLVED = 0.9  # the accuracy that counts as solved


def fit_line(x, y):
    """Least squares y = a + b x: (a, b, R^2)."""
    b, a = np.polyfit(x, y, 1)
    return a, b, 1 - np.var(np.subtract(y, a + b * np.array(x))) / max(np.var(y), 1e-12)


def fit_exponential(error):
    """err(L) = e_inf + A exp(-k L) over loops L = 1, 2, .. (Parcae 2026): e_inf, A, k and the residual (RMS)."""
    best, L = None, np.arange(1, len(error) + 1)
    for k in np.geomspace(1e-3, 10, 400):
        columns = np.stack((np.ones(len(L)), np.exp(-k * L)), axis=1)
        (e_inf, A), *_ = np.linalg.lstsq(columns, error, rcond=None)
        if e_inf < 0:  # no error is negative
            e_inf, A = 0.0, np.dot(columns[:, 1], error) / np.dot(columns[:, 1], columns[:, 1])
        residual = np.sqrt(np.mean((columns @ (e_inf, A) - error) ** 2))
        if best is None or residual < best["residual"]:
            best = dict(e_inf=float(e_inf), A=float(A), k=float(k), residual=float(residual))
    return best


def fit_ramp(error):
    """err(L) = max(e_inf, a - b L), as a walk of one step a loop solves a mixture of difficulties; and its residual."""
    best, L = None, np.arange(1, len(error) + 1)
    for corner in range(2, len(error) + 1):  # the line goes through the loops before, the floor through those after
        b, a = np.polyfit(L[:corner], error[:corner], 1)
        e_inf = float(np.mean(error[corner:])) if corner < len(error) else 0.0
        residual = np.sqrt(np.mean((np.maximum(e_inf, a + b * L) - error) ** 2))
        if best is None or residual < best["residual"]:
            best = dict(e_inf=e_inf, a=float(a), b=float(-b), residual=float(residual))
    return best


def trained_rows(numbers):
    """How many of the difficulties are trained ones; these come first."""
    return sum(difficulty <= numbers["trained_difficulty"] for difficulty in numbers["difficulty"])


def draw_curves(numbers, title):
    """Accuracy for three ways to choose the loops, and the control's; the loops needed; the margin."""
    figure = plt.figure(figsize=(WIDTH, 7.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    left, right = lower.subplots(1, 2)
    draw_choices(upper.subplots(), numbers)
    draw_needed(left, numbers)
    draw_margin(right, numbers)
    figure.suptitle(title, size=12)
    return figure


def draw_choices(axis, numbers):
    x, loops, most = numbers["difficulty"], numbers["loops"][-1], numbers["trained_loops"]["largest"]
    everywhere = [row[-1] for row in numbers["accuracy"]]
    curves = [
        (numbers["accuracy_at_best_loops"], "o-", BLUE, "looped, loops chosen\nfor each difficulty (val)"),
        (everywhere, "x-.", GREEN, f"looped, {loops} loops\nfor every question"),
        (numbers["accuracy_at_trained_loops"], "s--", ORANGE, f"looped, {most} loops,\nthe most in training"),
    ]
    points = {BLUE: "accuracy_at_best_loops", ORANGE: "accuracy_at_trained_loops"}
    if numbers["control"]:
        curves.append((numbers["control"], "^:", GREY, f"untied control,\n{most} layers"))
        points[GREY] = "control"
    for y, style, color, _ in curves:
        axis.plot(x, y, style, color=color, ms=5)
    if len(numbers["by_run"]) > 1:  # every seed a point, the curve their median
        for color, key in points.items():
            for found in numbers["by_run"]:
                axis.plot(x, found[key], ".", color=color, ms=4, alpha=0.6, zorder=3)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel=f"difficulty ({numbers['unit']})", ylabel="accuracy (test)", ylim=(-0.03, 1.03))
    if trained_rows(numbers) < len(x):
        axis.axvline(numbers["trained_difficulty"] + 0.5, color="k", lw=0.8, ls="--")
        axis.set(xlabel=f"difficulty ({numbers['unit']}; dashed: the hardest in training)")
    label_ends(axis, [(y[-1], text, color) for y, _, color, text in curves], gap=0.15)


def draw_needed(axis, numbers):
    for found in numbers["by_run"]:
        axis.plot(numbers["difficulty"], [t or np.nan for t in found["loops_needed"]], "o-", color=BLUE, lw=0.8, ms=4)
    axis.set(xlabel=f"difficulty ({numbers['unit']})", ylabel=f"fewest loops for {SOLVED} (val)", ylim=(0, None))
    axis.xaxis.get_major_locator().set_params(integer=True)
    if "growth" in numbers:
        growth = numbers["growth"]
        straight, curved = growth["r2_linear"], growth["r2_logarithmic"]
        title = f"{growth['loops_a_step']:.2f} more loops a step\n(R2 {straight:.2f}; as a logarithm {curved:.2f})"
        if curved > straight + 0.05:
            title = f"loops needed grow like a logarithm\n(R2 {curved:.2f}; as a line {straight:.2f})"
        axis.set_title(title)


def draw_margin(axis, numbers):
    """A few difficulties, from the easiest to the hardest, in colour; the others in grey."""
    last, hardest = len(numbers["difficulty"]) - 1, trained_rows(numbers) - 1
    named = {0: GREY, hardest: BLUE, last: ORANGE}
    if 2 * numbers["trained_difficulty"] in numbers["difficulty"][:last]:
        named[numbers["difficulty"].index(2 * numbers["trained_difficulty"])] = GREEN
    for i, curve in enumerate(numbers["margin"]):
        style = dict(color=named[i], lw=2, zorder=3) if i in named else dict(color="#cccccc", lw=1)
        axis.plot(numbers["loops"], curve, **style)
    axis.axhline(0, color="k", lw=0.8)
    axis.axvline(numbers["trained_loops"]["largest"], color="k", lw=0.8, ls="--")
    axis.set(xlabel="loops (dashed: the most in training)", ylabel="margin (logits)")
    axis.set_title("right answer against the best wrong one\n(above 0: it leads)")
    short = [" ".join(name.split()[:2]) for name in numbers["difficulty_names"]]
    label_ends(axis, [(numbers["margin"][i][-1], short[i], color) for i, color in named.items()], gap=0.08)
