"""
What `analyze.py depth` does with its accuracies, which analyze.py measures: this file finds the
control, adds more numbers to depth.json, fits laws to them, draws depth.png and depth_curves.png,
and says in words what was found.
"""

from itertools import islice

import numpy as np
import torch

from analyses.common import SOLVED
from support.figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt, seeds_text
from support.flags import find_task, flag_names
from support.processes import fail
from tasks import IGNORE
from train import load_model

# --------------------------------------------------------------------------------------------------
# Measure


def load_control(run, flags, device):
    """The untied model in RUN/control, None if there is none. It must have seen the same data."""
    if not (run / "control" / "checkpoint.pt").exists():
        return None
    control, _, other = load_model(run / "control", device)
    for name in ("seed", "steps", *flag_names(find_task(flags.task))):
        if getattr(flags, name) != getattr(other, name):
            fail(f"{run}/control is no control of {run}: its --{name} is another")
    return control


def layers_of(model):
    """How many layers an untied model applies: those of its loops, of its prelude and its coda."""
    config = model.config
    around = getattr(config, "n_prelude", 0) + getattr(config, "n_coda", 0)
    return config.loops * getattr(config, "n_core", 1) + around


def measure_more(model, task, difficulty, row, examples):
    """
    More numbers for one difficulty, from the first test batch. `row` has those of analyze.py.
    """
    batch = task.batch("test", 0, examples, difficulty)
    return dict(
        margin=margin_by_loop(model, batch, len(row["accuracy"])),
        parts=accuracy_of_parts(model, task, batch, row["best_loops"]),
        shortcuts=accuracy_of_shortcuts(task, batch),
        distinct=len(batch.tokens.unique(dim=0)),
    )


@torch.no_grad()
def margin_by_loop(model, batch, loops):
    """
    How far the logit of the right answer is above the best wrong one after each loop 1 .. loops,
    as the mean over all places where an answer is asked.
    """
    asked = batch.targets != IGNORE
    target = batch.targets[asked][:, None]  # (N, 1)
    margin = []
    for h in islice(model.states(batch.tokens, loops), 1, None):
        logits = model.readout(h)[asked]  # (N, vocab_size)
        right = logits.gather(1, target)[:, 0]
        best_wrong = logits.scatter(1, target, -torch.inf).amax(1)
        margin.append((right - best_wrong).mean().item())
    return margin


@torch.no_grad()
def accuracy_of_parts(model, task, batch, loops):
    """{name: accuracy} of the kinds of questions that the task wants to be told apart."""
    right = task.check(batch, model(batch.tokens, loops).argmax(-1)).float()
    return {name: right[rows].mean().item() for name, rows in task.parts(batch.tokens).items()}


def accuracy_of_shortcuts(task, batch):
    """{name: accuracy} of simpler solvers, which do less than the task asks."""
    found = {}
    for name, prediction in task.shortcuts(batch).items():
        found[name] = task.check(batch, prediction).float().mean().item()
    return found


def summarise_mixture(row):
    """What was measured with mixed questions, by the names that depth.json has for it."""
    return dict(
        best_loops=row["best_loops"],
        accuracy=row["accuracy_at_best_loops"],
        accuracy_at_trained_loops=row["accuracy_at_trained_loops"],
        by_loop=row["accuracy"],
    )


# --------------------------------------------------------------------------------------------------
# Fit


def fit_laws(numbers):
    """
    {"growth": how many more loops a harder question needs, "fit": how the error falls with every
    loop}. There is no growth if fewer than three difficulties are solved.
    """
    each, laws = numbers["by_run"], {}
    points = []  # (difficulty, the fewest loops that solve it)
    for found in each:
        for difficulty, loops in zip(numbers["difficulty"], found["loops_needed"]):
            if loops is not None and difficulty > 0:
                points.append((difficulty, loops))
    if len({difficulty for difficulty, _ in points}) > 2:
        difficulties, loops = zip(*points)
        _, a_step, r2_linear = fit_line(difficulties, loops)
        _, a_doubling, r2_logarithmic = fit_line(np.log2(difficulties), loops)
        laws["growth"] = dict(
            loops_a_step=a_step,
            r2_linear=r2_linear,
            r2_logarithmic=r2_logarithmic,
            loops_a_doubling=a_doubling,
        )
    error = 1 - np.median([found["mixture"]["by_loop"] for found in each], axis=0)
    laws["fit"] = dict(exponential=fit_exponential(error), ramp=fit_ramp(error))
    return laws


def fit_line(x, y):
    """Least squares y = a + b x: (a, b, R^2)."""
    b, a = np.polyfit(x, y, 1)
    residual = np.subtract(y, a + b * np.array(x))
    return a, b, 1 - np.var(residual) / max(np.var(y), 1e-12)


def fit_exponential(error):
    """
    error(L) = e_inf + A exp(-k L) over the loops L = 1, 2, .. (Parcae 2026): e_inf, A, k and the
    residual (RMS).
    """
    best, L = None, np.arange(1, len(error) + 1)
    for k in np.geomspace(1e-3, 10, 400):
        decay = np.exp(-k * L)
        columns = np.stack((np.ones(len(L)), decay), axis=1)
        (e_inf, A), *_ = np.linalg.lstsq(columns, error, rcond=None)
        if e_inf < 0:  # no error is negative
            e_inf, A = 0.0, np.dot(decay, error) / np.dot(decay, decay)
        residual = np.sqrt(np.mean((e_inf + A * decay - error) ** 2))
        if best is None or residual < best["residual"]:
            best = dict(e_inf=float(e_inf), A=float(A), k=float(k), residual=float(residual))
    return best


def fit_ramp(error):
    """
    error(L) = max(e_inf, a - b L), which is how a walk of one step a loop solves a mixture of
    difficulties; and its residual (RMS).
    """
    best, L = None, np.arange(1, len(error) + 1)
    for corner in range(2, len(error) + 1):  # the line fits the loops before it, the floor the rest
        b, a = np.polyfit(L[:corner], error[:corner], 1)
        e_inf = float(np.mean(error[corner:])) if corner < len(error) else 0.0
        residual = np.sqrt(np.mean((np.maximum(e_inf, a + b * L) - error) ** 2))
        if best is None or residual < best["residual"]:
            best = dict(e_inf=e_inf, a=float(a), b=float(-b), residual=float(residual))
    return best


# --------------------------------------------------------------------------------------------------
# Draw


def trained_rows(numbers):
    """How many of the difficulties are trained ones; these come first."""
    return sum(each <= numbers["trained_difficulty"] for each in numbers["difficulty"])


def draw_map(numbers):
    """The map over difficulty x loops; the control is a column beside it in the same colours."""
    names, loops, control = numbers["difficulty_names"], numbers["loops"][-1], numbers["control"]
    most = numbers["trained_loops"]["largest"]
    trained = trained_rows(numbers)
    figure = plt.figure(figsize=(WIDTH, 5), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=(14, 1)) if control else [figure.subplots()]
    style = dict(aspect="auto", origin="lower", vmin=0, vmax=1, cmap="cividis")
    bottom, top = -0.5, len(names) - 0.5
    extent = (0.5, loops + 0.5, bottom, top)
    image = axes[0].imshow(numbers["accuracy"], extent=extent, **style)
    axes[0].set_yticks(range(len(names)), map(short_name, names))
    axes[0].set(xlabel="loops", ylabel=f"difficulty ({numbers['unit']})")
    # what training has seen ends at two lines: white on black, so that they show on any colour
    for color, dashes in (("black", "-"), ("white", "--")):
        axes[0].axvline(most + 0.5, color=color, ls=dashes)
        if trained < len(names):
            axes[0].axhline(trained - 0.5, color=color, ls=dashes)
    above = dict(ha="center", va="bottom", size=10)
    axes[0].text(most + 0.5, top + 0.1, "most loops in training", **above)
    if trained < len(names):
        box = dict(facecolor="black", alpha=0.7, linewidth=0, pad=2)
        inside = dict(ha="right", va="top", size=10, color="white", bbox=box)
        axes[0].text(loops, trained - 0.6, "hardest in training", **inside)
    if control:
        axes[1].imshow(np.array(control)[:, None], extent=(0, 1, bottom, top), **style)
        layers = numbers["control_layers"]
        axes[1].set(xticks=[], yticks=[], xlabel=f"untied\ncontrol,\n{layers} layers")
    figure.colorbar(image, ax=axes, label="accuracy (test)", pad=0.02)
    figure.suptitle(title_of(numbers), size=12)
    return figure


def draw_curves(numbers, title):
    """Above: accuracy for three ways to choose the loops. Below: the loops needed; the margin."""
    figure = plt.figure(figsize=(WIDTH, 7.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    left, right = lower.subplots(1, 2)
    draw_choices(upper.subplots(), numbers)
    draw_needed(left, numbers)
    draw_margin(right, numbers)
    figure.suptitle(title, size=12)
    return figure


def draw_choices(axis, numbers):
    """A curve for each way to choose the loops, and one for the control."""
    difficulty, loops = numbers["difficulty"], numbers["loops"][-1]
    most = numbers["trained_loops"]["largest"]
    everywhere = [row[-1] for row in numbers["accuracy"]]
    chosen = "looped, loops chosen\nfor each difficulty (val)"
    as_trained = f"looped, {most} loops,\nthe most in training"
    curves = [  # (accuracies, style, colour, name)
        (numbers["accuracy_at_best_loops"], "o-", BLUE, chosen),
        (everywhere, "x-.", GREEN, f"looped, {loops} loops\nfor every question"),
        (numbers["accuracy_at_trained_loops"], "s--", ORANGE, as_trained),
    ]
    of_each_run = {"accuracy_at_best_loops": BLUE, "accuracy_at_trained_loops": ORANGE}
    if numbers["control"]:
        name = f"untied control,\n{numbers['control_layers']} layers"
        curves.append((numbers["control"], "^:", GREY, name))
        of_each_run["control"] = GREY
    for accuracies, style, color, _ in curves:
        axis.plot(difficulty, accuracies, style, color=color, ms=5)
    if len(numbers["by_run"]) > 1:  # every seed is a point, and the curve is their median
        for key, color in of_each_run.items():
            for found in numbers["by_run"]:
                axis.plot(difficulty, found[key], ".", color=color, ms=4, alpha=0.6, zorder=3)
    axis.xaxis.get_major_locator().set_params(integer=True)
    name = f"difficulty ({numbers['unit']})"
    if trained_rows(numbers) < len(difficulty):
        axis.axvline(numbers["trained_difficulty"] + 0.5, color="k", lw=0.8, ls="--")
        name = f"difficulty ({numbers['unit']}; dashed: the hardest in training)"
    axis.set(xlabel=name, ylabel="accuracy (test)", ylim=(-0.03, 1.03))
    label_ends(axis, [(curve[-1], name, color) for curve, _, color, name in curves], gap=0.15)


def draw_needed(axis, numbers):
    """The fewest loops that solve each difficulty, a curve for each run."""
    for found in numbers["by_run"]:
        needed = [np.nan if loops is None else loops for loops in found["loops_needed"]]
        axis.plot(numbers["difficulty"], needed, "o-", color=BLUE, lw=0.8, ms=4)
    axis.set(ylabel=f"fewest loops for {SOLVED} (val)", ylim=(0, None))
    axis.set(xlabel=f"difficulty ({numbers['unit']})")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if "growth" in numbers:
        growth = numbers["growth"]
        line, logarithm = growth["r2_linear"], growth["r2_logarithmic"]
        title = f"{growth['loops_a_step']:.2f} more loops a step\n"
        title += f"(R2 {line:.2f}; as a logarithm {logarithm:.2f})"
        if logarithm > line + 0.05:
            title = "loops needed grow like a logarithm\n"
            title += f"(R2 {logarithm:.2f}; as a line {line:.2f})"
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
    names = numbers["difficulty_names"]
    short = [name if name == short_name(name) else " ".join(name.split()[:2]) for name in names]
    ends = [(numbers["margin"][i][-1], short[i], color) for i, color in named.items()]
    label_ends(axis, ends, gap=0.08)


# --------------------------------------------------------------------------------------------------
# Say


def title_of(numbers):
    """Up to which difficulty everything is solved, with the loops of training and with the best."""
    most, last = numbers["trained_loops"]["largest"], short_name(numbers["difficulty_names"][-1])
    as_trained = hardest_solved(numbers, numbers["accuracy_at_trained_loops"])
    best = hardest_solved(numbers, numbers["accuracy_at_best_loops"])
    with_most = f"with {most} loops, as in training"
    if as_trained == last:
        result = f"solves {last}, the hardest asked,\n{with_most}"
    elif best == as_trained:
        result = f"solves {best} {with_most},\nand no more with the best loop count"
    else:
        asked = ", the hardest asked," if best == last else ""
        result = f"solves {as_trained} {with_most},\n{best}{asked} with the best loop count"
    hardest = f"{numbers['trained_difficulty']} {numbers['unit']}"
    if numbers["trained_difficulty"] in numbers["difficulty"]:
        at = numbers["difficulty"].index(numbers["trained_difficulty"])
        hardest = numbers["difficulty_names"][at]
    basis = f"{seeds_text(numbers['seeds'])}, {numbers['examples']} questions a cell"
    return f"{numbers['task']}, trained up to {hardest}: {result} ({basis})"


def hardest_solved(numbers, accuracies):
    """The name of the hardest difficulty up to which every one is solved."""
    solved = "none"
    for name, accuracy in zip(numbers["difficulty_names"], accuracies):
        if accuracy < SOLVED:
            break
        solved = short_name(name)
    return solved


def short_name(name):
    """The number that a name begins with, "7" of "7 rounds of singles"; else the whole name."""
    first = name.split()[0]
    return first if first.isdecimal() else name


def between(values, digits=3):
    """The median of the runs and, if there are several, their range: "0.998 [0.996, 1.000]"."""
    ends = (min(values), np.median(values), max(values))
    low, middle, high = (f"{value:.{digits}f}" for value in ends)
    return middle if len(values) == 1 else f"{middle} [{low}, {high}]"


def say(numbers):
    """A row for each difficulty and each kind of its questions: medians and ranges of the runs."""
    each, most = numbers["by_run"], numbers["trained_loops"]["largest"]

    def row(name, trained="", best="", chosen="", control=""):
        print(f"{name:>22}  {trained:>20}  {best:>20} {chosen:<15}  {control:>20}")

    print()
    levels = {found["level"] for found in each}
    if len(levels) > 1:
        print(f"note: in training these runs reached the difficulties {sorted(levels)}")
    as_trained = f"{most} loops, as trained"
    row(numbers["unit"], as_trained, "best loops", "(chosen on val)", "untied control")
    for i, name in enumerate(numbers["difficulty_names"]):
        trained = between([found["accuracy_at_trained_loops"][i] for found in each])
        best = between([found["accuracy_at_best_loops"][i] for found in each])
        chosen = "at " + between([found["best_loops"][i] for found in each], digits=0)
        control = between([found["control"][i] for found in each]) if numbers["control"] else "-"
        row(short_name(name), trained, best, chosen, control)
        for part in each[0]["parts"][i]:
            row(part, best=between([found["parts"][i][part] for found in each]))
        for solver in each[0]["shortcuts"][i]:
            best = between([found["shortcuts"][i][solver] for found in each])
            row(f"({solver})", best=best)
    mixture = [found["mixture"] for found in each]
    trained = between([found["accuracy_at_trained_loops"] for found in mixture])
    best = between([found["accuracy"] for found in mixture])
    chosen = "at " + between([found["best_loops"] for found in mixture], digits=0)
    row("mixture of training", trained, best, chosen)
    say_laws(numbers)


def say_laws(numbers):
    if "growth" in numbers:
        growth = "{loops_a_step:.2f} more for each step of difficulty (R2 {r2_linear:.2f}; as a "
        growth += "logarithm: {loops_a_doubling:.2f} for each doubling, R2 {r2_logarithmic:.2f})"
        print(f"loops needed for {SOLVED} (val): {growth.format(**numbers['growth'])}")
    exponential = "{e_inf:.3f} + {A:.2f} exp(-{k:.3f} L), residual {residual:.3f}"
    ramp = "max({e_inf:.3f}, {a:.2f} - {b:.3f} L), residual {residual:.3f}"
    print("error after L loops on the mixture of training:")
    print(f"    {exponential.format(**numbers['fit']['exponential'])}")
    print(f"    {ramp.format(**numbers['fit']['ramp'])}")
