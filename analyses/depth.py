"""
Accuracy over difficulty x loops, against the untied control

Does a model that was trained on difficulty <= D solve more when it loops longer? Every difficulty is asked after every
loop; the loop count of a difficulty is chosen on val and its accuracy reported on test. The folder control/ in the run,
if there is one, is asked the same questions: an untied model as deep as the most loops of training. `depth.png` is the
map of it all, `depth_curves.png` shows what to read from it, `depth.json` has the numbers.
"""

import numpy as np
import torch
from tqdm import tqdm

from analyses.common import add_examples, add_factor, add_loops, difficulties_of, load_seeds, main_of
from analyses.depth_curves import SOLVED, draw_curves, fit_exponential, fit_line, fit_ramp, trained_rows
from figures import WIDTH, plt, seeds_text, write
from runs import fail, find_class, flag_names
from tasks import IGNORE
from train import load_model, trained_loops

MANY = True


def add_flags(parser):
    add_loops(parser)
    add_examples(parser, "questions of each difficulty (default 500)")
    add_factor(parser)


# -----------------------------------------------------------------------------
# Measure


@torch.no_grad()
def accuracy_by_loop(model, task, split, difficulty, loops, examples):
    """
    After each loop 1..loops, on the first batch of a split: the accuracy, and the margin, how far the logit of the
    right answer is above the best wrong one (mean over all places where an answer is asked).
    """
    batch = task.batch(split, 0, examples, difficulty)
    answers = batch.targets != IGNORE
    target = batch.targets[answers][:, None]
    accuracy, margin = [], []
    for t, h in enumerate(model.states(batch.tokens, loops)):
        if t > 0:
            logits = model.readout(h)
            accuracy.append(task.check(batch, logits.argmax(-1)).sum().item() / examples)
            right = logits[answers].gather(1, target)[:, 0]
            best_wrong = logits[answers].scatter(1, target, -torch.inf).amax(1)
            margin.append((right - best_wrong).mean().item())
    return accuracy, margin


@torch.no_grad()
def accuracy_of_parts(model, task, difficulty, loops, examples):
    """{name: accuracy} of the kinds of questions that a task wants to be told apart, on the first test batch."""
    batch = task.batch("test", 0, examples, difficulty)
    right = task.check(batch, model(batch.tokens, loops).argmax(-1)).float()
    return {name: right[rows].mean().item() for name, rows in task.parts(batch.tokens).items()}


def accuracy_of_shortcuts(task, difficulty, examples):
    """{name: accuracy} of those who do less than the task asks, on the first test batch."""
    batch = task.batch("test", 0, examples, difficulty)
    return {name: task.check(batch, said).float().mean().item() for name, said in task.shortcuts(batch).items()}


def measure_run(folder, model, task, flags, args):
    """One run: what all its seeds share, and what it found: for each difficulty after each loop, and the control's."""
    trained = trained_loops(flags, task)
    loops = max(args.loops or min(96, 6 * trained["largest"] + 4), trained["largest"])
    if not flags.tied:
        loops = flags.loops
    most = min(trained["largest"], loops)
    control = load_control(folder, flags, args.device)
    difficulties = difficulties_of(task, "test", args.factor)
    found = dict(seed=flags.seed, accuracy=[], margin=[], best_loops=[], accuracy_at_best_loops=[], distinct=[])
    found["loops_needed"] = []  # the fewest that solve it on val, None if there are none
    found["control"] = [] if control else None
    found["parts"] = []  # of each difficulty, at its best loops
    found["shortcuts"] = []
    for difficulty in tqdm([*difficulties, None], desc=f"depth of {folder}", leave=False):
        val, _ = accuracy_by_loop(model, task, "val", difficulty, loops, args.examples)
        test, margin = accuracy_by_loop(model, task, "test", difficulty, loops, args.examples)
        best = val.index(max(val))  # the fewest loops among the best
        if difficulty is None:  # the mixture that training draws from
            found["mixture"] = dict(best_loops=best + 1, accuracy=test[best], accuracy_at_trained_loops=test[most - 1])
            found["mixture"]["by_loop"] = test
            continue
        found["accuracy"].append(test)
        found["margin"].append(margin)
        found["best_loops"].append(best + 1)
        found["accuracy_at_best_loops"].append(test[best])
        found["parts"].append(accuracy_of_parts(model, task, difficulty, best + 1, args.examples))
        found["shortcuts"].append(accuracy_of_shortcuts(task, difficulty, args.examples))
        found["distinct"].append(len(task.batch("test", 0, args.examples, difficulty).tokens.unique(dim=0)))
        found["loops_needed"].append(next((t for t, accuracy in enumerate(val, 1) if accuracy >= SOLVED), None))
        if control:
            by_layer, _ = accuracy_by_loop(control, task, "test", difficulty, control.config.loops, args.examples)
            found["control"].append(by_layer[-1])
    found["accuracy_at_trained_loops"] = [row[most - 1] for row in found["accuracy"]]
    shared = dict(task=flags.task, unit=task.unit, difficulty=difficulties, loops=list(range(1, loops + 1)))
    shared["difficulty_names"] = [task.name_of(difficulty) for difficulty in difficulties]
    shared.update(trained_difficulty=flags.level, trained_loops=trained, examples=args.examples)
    return shared, found


def load_control(folder, flags, device):
    """The untied model in FOLDER/control, None if there is none; it must have seen what the run has seen."""
    if not (folder / "control" / "checkpoint.pt").exists():
        return None
    control, _, other = load_model(folder / "control", device)
    for name in ("seed", "steps", *flag_names(find_class("task", flags.task))):
        if getattr(flags, name) != getattr(other, name):
            fail(f"{folder}/control is no control of {folder}: its --{name} is another")
    return control


def summary(measured):
    """The numbers of depth.json: medians over the runs, and what each of them found."""
    numbers, each = measured[0][0], [found for _, found in measured]

    def median(key):
        return np.median([found[key] for found in each], axis=0).round(5).tolist()

    for key in ("accuracy", "margin", "accuracy_at_trained_loops", "accuracy_at_best_loops"):
        numbers[key] = median(key)
    numbers["control"] = median("control") if all(found["control"] for found in each) else None
    numbers.update(seeds=[found["seed"] for found in each], by_run=each)
    for found in each:
        del found["margin"]  # by far the longest, and only the picture wants it
    needed = [(d, t) for found in each for d, t in zip(numbers["difficulty"], found["loops_needed"]) if t and d > 0]
    if len({d for d, _ in needed}) > 2:
        d, t = zip(*needed)
        (_, slope, r2), (_, per_doubling, r2_logarithmic) = fit_line(d, t), fit_line(np.log2(d), t)
        numbers["growth"] = dict(loops_a_step=slope, r2_linear=r2, r2_logarithmic=r2_logarithmic)
        numbers["growth"]["loops_a_doubling"] = per_doubling
    error = 1 - np.median([found["mixture"]["by_loop"] for found in each], axis=0)
    numbers["fit"] = dict(exponential=fit_exponential(error), ramp=fit_ramp(error))
    return numbers


# -----------------------------------------------------------------------------
# Draw


def draw_map(numbers):
    """The heat map over difficulty x loops, and the control as a column of the same colours."""
    names, loops, control = numbers["difficulty_names"], numbers["loops"][-1], numbers["control"]
    most, trained = numbers["trained_loops"]["largest"], trained_rows(numbers)
    figure = plt.figure(figsize=(WIDTH, 5), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=(14, 1)) if control else [figure.subplots()]
    style = dict(aspect="auto", origin="lower", vmin=0, vmax=1, cmap="cividis")
    image = axes[0].imshow(numbers["accuracy"], extent=(0.5, loops + 0.5, -0.5, len(names) - 0.5), **style)
    axes[0].set_yticks(range(len(names)), [name.split()[0] for name in names])
    axes[0].set(xlabel="loops", ylabel=f"difficulty ({numbers['unit']})")
    lines = dict(black="-", white="--")  # one on the other, seen on dark and on bright
    for color, style_of_line in lines.items():
        axes[0].axvline(most + 0.5, color=color, ls=style_of_line)
    axes[0].text(most + 0.5, len(names) - 0.4, "most loops in training", ha="center", va="bottom", size=10)
    if trained < len(names):
        for color, style_of_line in lines.items():
            axes[0].axhline(trained - 0.5, color=color, ls=style_of_line)
        label = dict(color="white", size=10, bbox=dict(facecolor="black", alpha=0.7, linewidth=0, pad=2))
        axes[0].text(loops, trained - 0.6, "hardest in training", ha="right", va="top", **label)
    if control:
        axes[1].imshow(np.array(control)[:, None], extent=(0, 1, -0.5, len(names) - 0.5), **style)
        axes[1].set(xticks=[], yticks=[], xlabel=f"untied\ncontrol,\n{most} layers")
    figure.colorbar(image, ax=axes, label="accuracy (test)", pad=0.02)
    figure.suptitle(title_of(numbers), size=12)
    return figure


def title_of(numbers):
    most, last = numbers["trained_loops"]["largest"], numbers["difficulty_names"][-1].split()[0]
    as_trained = hardest_solved(numbers, numbers["accuracy_at_trained_loops"])
    best = hardest_solved(numbers, numbers["accuracy_at_best_loops"])
    asked = ", the hardest asked," * (best == last)
    found = f"solves {as_trained} with {most} loops, as in training,\n{best}{asked} with the best loop count"
    if best == as_trained:
        found = f"solves {as_trained} with {most} loops, as in training,\nand no more with the best loop count"
    if as_trained == last:
        found = f"solves {last}, the hardest asked,\nwith {most} loops, as in training"
    names = dict(zip(numbers["difficulty"], numbers["difficulty_names"]))
    hardest = names.get(numbers["trained_difficulty"], f"{numbers['trained_difficulty']} {numbers['unit']}")
    basis = f"{seeds_text(numbers['seeds'])}, {numbers['examples']} questions a cell"
    return f"{numbers['task']}, trained up to {hardest}: {found} ({basis})"


def hardest_solved(numbers, accuracies):
    """The name of the hardest difficulty up to which every one is solved."""
    failed = next((i for i, accuracy in enumerate(accuracies) if accuracy < SOLVED), len(accuracies))
    return numbers["difficulty_names"][failed - 1].split()[0] if failed else "none"


# -----------------------------------------------------------------------------
# Say


def between(values, digits=3):
    """The median of the runs and, of several, their range: "0.998 [0.996, 1.000]"."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), np.median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}, {high}]"


def say(numbers):
    """A table: a row for each difficulty (and for each kind of its questions), medians and ranges of the runs."""
    each, most = numbers["by_run"], numbers["trained_loops"]["largest"]
    row = "{:>22}  {:>20}  {:>20} {:<15}  {:>20}"
    print()
    print(row.format(numbers["unit"], f"{most} loops, as trained", "best loops", "(chosen on val)", "untied control"))
    for i, name in enumerate(numbers["difficulty_names"]):
        trained = between([found["accuracy_at_trained_loops"][i] for found in each])
        best = between([found["accuracy_at_best_loops"][i] for found in each])
        chosen = "at " + between([found["best_loops"][i] for found in each], digits=0)
        control = between([found["control"][i] for found in each]) if numbers["control"] else "-"
        print(row.format(name.split()[0], trained, best, chosen, control))
        for part in each[0]["parts"][i]:
            print(row.format(part, "", between([found["parts"][i][part] for found in each]), "", ""))
        for less in each[0]["shortcuts"][i]:
            print(row.format(f"({less})", "", between([found["shortcuts"][i][less] for found in each]), "", ""))
    mixture = [found["mixture"] for found in each]
    trained, best = (between([each[key] for each in mixture]) for key in ("accuracy_at_trained_loops", "accuracy"))
    chosen = "at " + between([each["best_loops"] for each in mixture], digits=0)
    print(row.format("mixture of training", trained, best, chosen, ""))
    if "growth" in numbers:
        growth = "{loops_a_step:.2f} more for each step of difficulty (R2 {r2_linear:.2f}; as a logarithm: "
        growth += "{loops_a_doubling:.2f} for each doubling, R2 {r2_logarithmic:.2f})"
        print(f"loops needed for {SOLVED} (val): {growth.format(**numbers['growth'])}")
    print("error after L loops on the mixture of training:")
    print("    {e_inf:.3f} + {A:.2f} exp(-{k:.3f} L), residual {residual:.3f}".format(**numbers["fit"]["exponential"]))
    print("    max({e_inf:.3f}, {a:.2f} - {b:.3f} L), residual {residual:.3f}".format(**numbers["fit"]["ramp"]))


def main(runs, args):
    loaded = load_seeds(runs, args.device)
    numbers = summary([measure_run(run, *each, args) for run, each in zip(runs, loaded)])
    say(numbers)
    write(runs[0], "depth", draw_map(numbers), numbers)
    write(runs[0], "depth_curves", draw_curves(numbers, title_of(numbers)))


if __name__ == "__main__":
    main_of("depth")
