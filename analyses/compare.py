"""
The depth.json of several runs in one picture, a row for each run

Which of them still answers at several times the trained difficulty? Each folder has been measured
by `depth` (over its seeds), and all share the task. They are compared at the difficulties that all
of them were asked. The picture is a dot plot: a row for each folder, in groups that the command
line names.

    python analyze.py compare runs/recipe runs/rotary runs/alibi --group positions=rotary,alibi

A point is the median of the seeds at the loop counts that val chose, and a line reaches from the
worst to the best seed.
"""

import argparse
import json

import numpy as np

from analyses.common import SOLVED
from support.figures import BLUE, GREEN, GREY, ORANGE, WIDTH, plt, write
from support.processes import fail

MANY = True
KEYS = {"task", "unit", "difficulty", "trained_difficulty", "examples", "seeds", "by_run"}
COLORS = ("black", BLUE, ORANGE, GREEN, GREY)  # of the groups; the last one for all further ones


def add_flags(parser):
    text = "a title and the names of run folders to be shown under it; may be given several times"
    parser.add_argument(
        "--group", type=read_group, action="append", default=[], metavar="TITLE=NAMES", help=text
    )
    text = "difficulties to show (default: those nearest to two and four times the trained)"
    parser.add_argument("--at", type=int, nargs="+", default=[], help=text)


def read_group(text):
    title, _, names = text.partition("=")
    if not title or not names:
        raise argparse.ArgumentTypeError(f"{text!r} is not like TITLE=NAME,NAME")
    return title, names.split(",")


# --------------------------------------------------------------------------------------------------
# Read


def read_depths(folders):
    """{name of the folder: its depth.json}."""
    found = {}
    for folder in folders:
        name = folder.resolve().name
        if name in found:
            fail(f"two of these folders are called {name}")
        try:
            found[name] = json.loads((folder / "depth.json").read_text())
        except (OSError, ValueError):
            fail(f"{folder} has no depth.json: run `analyze.py depth {folder}` first")
        if not isinstance(found[name], dict) or not found[name].keys() >= KEYS:
            fail(f"{folder}/depth.json is not one of this program, or damaged")
        first = next(iter(found))
        if found[name]["task"] != found[first]["task"]:
            fail(f"{name} and {first} differ in the task")
    return found


def gather(found):
    """
    The numbers of compare.json: median, lowest and highest of the seeds, {name: one for each
    difficulty}.
    """
    first = next(iter(found.values()))
    numbers = {key: first[key] for key in ("task", "unit")}
    # of all, since a curriculum may not have opened the last difficulty for some
    numbers["trained_difficulty"] = max(depth["trained_difficulty"] for depth in found.values())
    for key in ("seeds", "examples"):
        numbers[key] = {name: depth[key] for name, depth in found.items()}
    asked_of_all = set.intersection(*(set(depth["difficulty"]) for depth in found.values()))
    if not asked_of_all:
        fail("these folders have no difficulty in common")
    numbers.update(difficulty=sorted(asked_of_all), median={}, lowest={}, highest={})
    for name, depth in found.items():
        at = [depth["difficulty"].index(difficulty) for difficulty in numbers["difficulty"]]
        rows = np.array([run["accuracy_at_best_loops"] for run in depth["by_run"]])[:, at]
        numbers["median"][name] = np.median(rows, axis=0).round(4).tolist()
        numbers["lowest"][name] = rows.min(axis=0).round(4).tolist()
        numbers["highest"][name] = rows.max(axis=0).round(4).tolist()
    return numbers


def grouped(names, groups):
    """{title: names}; those in no group come first, under ""."""
    chosen = [name for _, members in groups for name in members]
    for name in chosen:
        if name not in names:
            fail(f"--group names {name}, which is not one of the folders")
        if chosen.count(name) > 1:
            fail(f"--group names {name}, which is in two groups")
    return {"": [name for name in names if name not in chosen], **dict(groups)}


def difficulties_at(numbers, at):
    """The difficulties to show."""
    have, top = numbers["difficulty"], numbers["trained_difficulty"]
    if wrong := [difficulty for difficulty in at if difficulty not in have]:
        fail(f"--at {wrong[0]} was not measured; choose from {', '.join(map(str, have))}")
    if at:
        return at
    nearest = {min(have, key=lambda difficulty: abs(difficulty - k * top)) for k in (2, 4)}
    return sorted(nearest)


# --------------------------------------------------------------------------------------------------
# Draw


def draw(numbers):
    """A panel for each difficulty; the rows of a group are sorted by the hardest of them."""
    at = [numbers["difficulty"].index(difficulty) for difficulty in numbers["at"]]
    rows, titles, height = layout_of(numbers, at)
    figure, axes = plt.subplots(
        1,
        len(at),
        figsize=(WIDTH, 1.3 + 0.3 * height),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, j in zip(axes[0], at):
        for y, name, color in rows:
            axis.axhline(y, color="#e5e5e5", lw=0.8, zorder=0)
            ends = [numbers["lowest"][name][j], numbers["highest"][name][j]]
            axis.plot(ends, [y, y], color=color, lw=3, alpha=0.4, solid_capstyle="butt")
            axis.plot(numbers["median"][name][j], y, "o", color=color, ms=8)
        beyond = numbers["difficulty"][j] / numbers["trained_difficulty"]
        hard = f"{numbers['difficulty'][j]} {numbers['unit']}"
        axis.set_title(f"{hard}, {beyond:.3g} times the trained")
        axis.set(xlim=(-0.03, 1.03), xlabel="accuracy (test)")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    ticks = {y: name.replace("_", " ") for y, name, _ in rows} | titles
    axes[0, 0].set_yticks(list(ticks), list(ticks.values()))
    for label, y in zip(axes[0, 0].get_yticklabels(), ticks):
        label.set_weight("bold" if y in titles else "normal")
    axes[0, 0].set_ylim(height - 0.4, -0.6)
    figure.suptitle(title_of(numbers, at[-1]), size=12)
    return figure


def layout_of(numbers, at):
    """The rows [(y, name, colour)], the titles of the groups {y: title}, and the height of all."""
    rows, titles, height = [], {}, 0

    def hardest_first(name):
        return [-numbers["median"][name][j] for j in reversed(at)]

    for i, (title, names) in enumerate(numbers["groups"].items()):
        if title:
            titles[height + 0.25] = title
            height += 1
        for name in sorted(names, key=hardest_first):
            rows.append((height, name, COLORS[min(i, len(COLORS) - 1)]))
            height += 1
    return rows, titles, height


def title_of(numbers, j):
    """How many runs solve the j-th difficulty, and the next one; if none does, the best two."""
    at_j = {name.replace("_", " "): median[j] for name, median in numbers["median"].items()}
    ranked = sorted(at_j, key=lambda name: -at_j[name])
    solved = sum(accuracy >= SOLVED for accuracy in at_j.values())
    hard = f"{numbers['difficulty'][j]} {numbers['unit']}"
    if solved:
        found = f"{hard} are solved ({SOLVED} right) by {solved} of {len(ranked)}"
        if solved < len(ranked):
            found += f"; next is {ranked[solved]} with {at_j[ranked[solved]]:.2f}"
    else:
        best_two = ", ".join(f"{name} {at_j[name]:.2f}" for name in ranked[:2])
        found = f"right at {hard}: {best_two}"
    counts = sorted({len(seeds) for seeds in numbers["seeds"].values()})
    basis = f"median and range of {' or '.join(map(str, counts))} seeds"
    if counts == [1]:
        basis = "1 seed"
    task = f"{numbers['task']}, trained to {numbers['trained_difficulty']} {numbers['unit']}"
    return f"{found}\n{task} ({basis})"


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    found = read_depths(runs)
    numbers = gather(found)
    numbers["groups"] = grouped(list(found), args.group)
    numbers["at"] = difficulties_at(numbers, args.at)
    difficulties = "  ".join(f"{difficulty:>5}" for difficulty in numbers["difficulty"])
    print(f"\n{numbers['unit']:>16}  {difficulties}")
    for name, median in numbers["median"].items():
        print(f"{name:>16}  " + "  ".join(f"{accuracy:.3f}" for accuracy in median))
    write(runs[0], "compare", draw(numbers), numbers)
