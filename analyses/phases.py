"""
composition: when a model memorises, composes facts, and composes facts seen alone

The three phases of grokking (Wang et al. 2024, Kohli et al. 2026). A model first memorises the
compositions it is shown. Long after, it composes pairs of facts that it has not seen together (held
out, in distribution: ID). Last, if ever, it composes facts that it has only seen alone, never in a
composition (out of distribution: OOD). A phase begins where the accuracy on its questions reaches
0.9 and stays there for two evaluations. How right the model is in the end is asked on other
questions: of the compositions of alone facts, half show the phase and half are kept for this.

Runs of different kinds may be given, each with any number of seeds; phases.png compares them. For
looped runs with snapshots, lens.png looks at the states at the end of each phase
(analyses/lens.py).
"""

import math
import sys
import textwrap

import numpy as np
import torch
from tqdm import tqdm

from analyses import lens
from analyses.common import check_seeds, kind_of, load, refuse_without
from more_tasks.composition import Composition
from support.figures import BLUE, GREY, ORANGE, WIDTH, plt, seeds_text, write
from support.files import load_tensors
from support.folder import read_metrics
from support.processes import fail
from train import trained_loops

MANY = True
PHASES = {  # split: what a model does that has reached 0.9 there, and the colour
    "train": ("memorised", GREY),
    "val": ("composes held-out pairs (ID)", BLUE),
    "alone": ("composes facts seen alone (OOD)", ORANGE),
}


def add_flags(parser):
    pass


# --------------------------------------------------------------------------------------------------
# Measure


def measure_phases(folder, model, task, flags):
    """
    One run: its curves of accuracy, the step at which each reached 0.9 and stayed, and the accuracy
    at the end.
    """
    rows = read_metrics(folder)
    if not rows:
        fail(f"{folder} stopped before its first evaluation")
    steps, loops = [row["step"] for row in rows], trained_loops(flags, task)["largest"]
    try:
        curves = {split: [row[split]["2"] for row in rows] for split in PHASES}
    except (KeyError, TypeError):
        fail(f"{folder}/metrics.jsonl has no accuracies of {', '.join(PHASES)}")
    splits_of_the_end = ("test", "alone_test")
    return dict(
        run=folder.name,
        kind=kind_of(flags),
        seed=flags.seed,
        steps=steps,
        questions={split: len(task.listed[split, 2]) for split in (*PHASES, *splits_of_the_end)},
        curves=curves,
        reached={split: lasting(steps, curve) for split, curve in curves.items()},
        loops=loops,
        end={split: accuracy_on(model, task, split, loops) for split in splits_of_the_end},
    )


@torch.no_grad()
def accuracy_on(model, task, split, loops):
    batch = lens.two_hops(task, split)
    return task.check(batch, model(batch.tokens, loops).argmax(-1)).float().mean().item()


def pooled(members, split):
    """
    The right answers in the end, over the worlds of several runs: their share, its 95 % interval
    (Wilson 1927) and the number of questions.
    """
    n = sum(found["questions"][split] for found in members)
    share = sum(found["questions"][split] * found["end"][split] for found in members) / n
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    spread = math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    half = z / (1 + z**2 / n) * spread
    return dict(share=share, low=middle - half, high=middle + half, questions=n)


def lasting(steps, curve):
    """
    The step of the first of two evaluations in a row at 0.9 or more, for one alone may be luck;
    None if there are no two.
    """
    for step, here, following in zip(steps, curve, curve[1:]):
        if min(here, following) >= 0.9:
            return step
    return None


def ends_of_phases(found):
    """The last evaluation of each phase that the run went through, {name: step}."""
    starts = [found["reached"][split] for split in PHASES]
    ends = {}
    for (name, _), start, end in zip(PHASES.values(), starts, [*starts[1:], None]):
        if start is None:
            continue
        during = [step for step in found["steps"] if start <= step and (not end or step < end)]
        if during:
            ends[name] = during[-1]
    return ends


def look_inside(folder, model, task, found, device):
    """A looped run: patching at its end, and the lens on its snapshots at the end of each phase."""
    loops = found["loops"]
    look = dict(kind=found["kind"], seed=found["seed"], lens={}, patched={})
    for share in lens.SHARES:
        look["patched"][share] = lens.measure_patching(model, task, "alone", loops, share)
    for name, step in ends_of_phases(found).items():
        snapshot = folder / "snapshots" / f"{step:06d}.pt"
        if snapshot.exists():
            model.load_state_dict(load_tensors(snapshot, device))
            seen = {split: lens.measure_lens(model, task, split, loops) for split in lens.SPLITS}
            look["lens"][name] = seen
    return look


# --------------------------------------------------------------------------------------------------
# Draw


def draw_phases(runs):
    """Large: the kind of model that composes best in the end. Below it the other kinds, small."""
    kinds = {}
    for found in runs:
        kinds.setdefault((found["kind"], found["steps"][-1]), []).append(found)
    kinds = dict(sorted(kinds.items(), key=lambda item: -median_end(item[1], "alone_test")))
    (best, members), *others = ((kind, members) for (kind, _), members in kinds.items())
    figure = plt.figure(figsize=(WIDTH, 6.6 if others else 4.2), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=(3.4, 2.4)) if others else [figure]
    large = rows[0].subplots()
    draw_curves(large, members)
    large.set_title(f"{best}: {end_text(members)} in the end")
    large.set(xlabel="step", ylabel="accuracy on two-hop questions")
    for (name, color), start in zip(PHASES.values(), starts_of(members)):
        label = f"{name}, from step {start:,.0f}" if np.isfinite(start) else f"{name}: not reached"
        large.plot([], color=color, lw=2.2, label=label)
    large.legend(loc="best")
    large.set_xlim(0, members[0]["steps"][-1])
    if others:
        axes = rows[1].subplots(1, len(others), sharex=True, sharey=True, squeeze=False)[0]
        for axis, (kind, members) in zip(axes, others):
            draw_curves(axis, members)
            name = textwrap.fill(kind, 24, break_on_hyphens=False)
            axis.set_title(f"{name}\n{end_text(members)}", size=9.5)
        longest = max(members[0]["steps"][-1] for members in kinds.values())
        axes[0].set(ylabel="accuracy", xlim=(0, longest))
        rows[1].supxlabel("step (bold: the median of the seeds)", size=10)
    figure.suptitle(title_of(kinds))
    return figure


def draw_curves(axis, members):
    """
    Accuracy over steps, thin for a seed, bold for the median. The phases, by their median start,
    are shaded.
    """
    steps = members[0]["steps"]
    for split, (_, color) in PHASES.items():
        curves = [found["curves"][split] for found in members]
        axis.plot(steps, np.transpose(curves), color=color, lw=0.7, alpha=0.4)
        axis.plot(steps, np.median(curves, axis=0), color=color, lw=2.2)
    starts = starts_of(members)
    for start, end, (_, color) in zip(starts, [*starts[1:], np.inf], PHASES.values()):
        if start < min(end, steps[-1]):
            axis.axvspan(start, min(end, steps[-1]), color=color, alpha=0.13, lw=0)
    axis.set(ylim=(-0.03, 1.03))


def starts_of(members):
    """The median step at which each phase began; infinite if most seeds did not reach it."""
    starts = []
    for split in PHASES:
        starts.append(np.median([found["reached"][split] or np.inf for found in members]))
    return starts


def median_end(members, split):
    return np.median([found["end"][split] for found in members])


def end_text(members):
    return f"ID {median_end(members, 'test'):.2f}, OOD {median_end(members, 'alone_test'):.2f}"


def title_of(kinds):
    """Which kinds compose even facts that were only ever seen alone (OOD 0.9 in the end)?"""
    able = []
    for (kind, _), members in kinds.items():
        if median_end(members, "alone_test") >= 0.9:
            able.append(f"“{kind}”")
    counts = sorted({len(members) for members in kinds.values()})
    seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else seeds_text(counts[0])
    if not able:
        return f"No third phase: facts only ever seen alone are not composed here ({seeds})"
    names = " and ".join(able)
    only = f"; only {names} gets through all" if len(able) < len(kinds) else f": {names}"
    return f"Grokking in three phases{only} ({seeds})"


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    all_found, looks, members = [], [], {}
    for folder in tqdm(runs, desc="phases", leave=False, disable=None):
        model, task, flags = load(folder, args.device)
        if not isinstance(task, Composition):
            fail(f"{folder} is no run of --task composition")
        found = measure_phases(folder, model, task, flags)
        all_found.append(found)
        members.setdefault((found["kind"], found["steps"][-1]), []).append((flags, found))
        if flags.tied and found["loops"] > 1:
            refuse_without(folder, model, lens.NEEDS)
            looks.append(look_inside(folder, model, task, found, args.device))
    for same_kind in members.values():
        check_seeds([flags for flags, _ in same_kind])
    head = "step of accuracy 0.9: train, ID, OOD   at the end: ID, OOD (test)"
    print(f"\n{'':<42} {'seed':>4}   {head}")
    numbers = dict(runs=all_found, pooled=[])
    for kind, steps in members:
        for _, found in members[kind, steps]:
            reached = "  ".join(f"{step or f'>{steps}':>6}" for step in found["reached"].values())
            end = f"{found['end']['test']:.3f}, {found['end']['alone_test']:.3f}"
            print(f"{kind:<42} {found['seed']:>4}   {reached:>36}   {end:>26}")
        worlds = pooled([found for _, found in members[kind, steps]], "alone_test")
        numbers["pooled"].append(dict(kind=kind, steps=steps, **worlds))
        text = "{share:.3f} [{low:.3f}, {high:.3f}] of {questions} questions".format(**worlds)
        print(f"{'':<42}        OOD, all worlds together: {text}")
    write(runs[0], "phases", draw_phases(all_found), numbers)
    looks = [look for look in looks if look["lens"]]
    if looks:
        lens.say_lens(looks)
        write(runs[0], "lens", lens.draw_lens(looks), dict(runs=looks))
    else:
        wanted = "a looped run with --snapshots that reached a phase"
        print(f"no lens.png: that takes {wanted}", file=sys.stderr)
