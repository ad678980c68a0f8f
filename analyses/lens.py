"""
Where the two hops happen: the logit lens and activation patching, for `analyze.py phases`, which
writes lens.png.

A question "e r1 r2" has two hops: r1 leads from e to the bridge, r2 from there to the answer. The
logit lens reads the state after each loop as if it were the last: is the bridge there, at r1? And
the answer, at r2? Activation patching then writes the bridge that was read back into the state, in
the form in which a question gives an entity. No knowledge is added. So if the answer comes now, the
loop knew the bridge before, but not in a form that it takes as input (DiscoLoop 2026).
"""

import textwrap

import numpy as np
import torch
from torch.nn import functional as F

from support.figures import GREY, ORANGE, WIDTH, plt, seeds_text

SHARES = (0, 0.25, 0.5, 0.75, 1)  # of the state that patching replaces
SPLITS = {"val": "ID", "alone": "OOD"}
NEEDS = ("begin", "trajectory", "think", "readout", "proper_state")  # of a model

# --------------------------------------------------------------------------------------------------
# Measure


def two_hops(task, split):
    """All two-hop questions of a split."""
    return task.batch(split, 0, len(task.listed[split, 2]), 2)


def as_given(model, entities):
    """(B, C): what a loop is told of entities (B,) that stand in the question."""
    _, e, _ = model.begin(entities[:, None])
    return e[:, 0]


@torch.no_grad()
def measure_lens(model, task, split, loops):
    """
    What can be read after each loop 0 .. loops, as shares of the two-hop questions of a split: the
    bridge at r1, the bridge at r2, the answer at r2. And the cosine between the state at r1 and the
    bridge as a question gives it.
    """
    batch = two_hops(task, split)
    bridge, answer = task.walk(batch.tokens)[:, 1:].T
    trajectory = model.trajectory(batch.tokens, loops)
    read = torch.stack([model.readout(h).argmax(-1) for h in trajectory])  # (loops + 1, B, 3)
    seen = (read[:, :, 1] == bridge, read[:, :, 2] == bridge, read[:, :, 2] == answer)
    states = model.proper_state(trajectory)  # (loops + 1, B, 3, C)
    cosine = F.cosine_similarity(states[:, :, 1], as_given(model, bridge), dim=-1)
    return [shares.float().mean(1).tolist() for shares in seen], cosine.mean(1).tolist()


@torch.no_grad()
def measure_patching(model, task, split, loops, share):
    """
    Accuracy on two hops after `loops` loops, if after the first of them a share of the state at r1
    is replaced by the entity that is read there, as a question would give it, at equal norm.
    """
    batch = two_hops(task, split)
    h = model.think(batch.tokens, 1)
    if share > 0:
        state = model.proper_state(h)[:, 1]  # (B, C), a view: what is written here changes h
        entity = model.readout(h)[:, 1, : task.entities].argmax(-1)
        given = as_given(model, entity)
        direction = (1 - share) * F.normalize(state, dim=-1) + share * F.normalize(given, dim=-1)
        state[:] = F.normalize(direction, dim=-1) * state.norm(dim=-1, keepdim=True)
    # the count t starts at 0 again, which makes no difference to a tied loop
    h = model.think(batch.tokens, loops - 1, h=h)
    return task.check(batch, model.readout(h).argmax(-1)).float().mean().item()


# --------------------------------------------------------------------------------------------------
# Draw


def draw_lens(looks):
    """
    A row for each kind of looped model. Its columns are the lens at the end of each phase (of the
    first seed) and patching (of all seeds).
    """
    kinds = {}
    for look in looks:
        kinds.setdefault(look["kind"], []).append(look)
    phases = list(dict.fromkeys(phase for look in looks for phase in look["lens"]))
    size = (WIDTH, 1.9 * len(kinds) + 1.2)
    shape = dict(width_ratios=[1] * len(phases) + [0.95], layout="constrained", squeeze=False)
    figure, axes = plt.subplots(len(kinds), len(phases) + 1, figsize=size, **shape)
    for row, (kind, members) in zip(axes, kinds.items()):
        row[0].set_ylabel(f"{textwrap.fill(kind, 22, break_on_hyphens=False)}\n\nloops", size=10)
        for axis, phase in zip(row, phases):
            draw_table(axis, members[0]["lens"].get(phase))
        draw_patching(row[-1], members)
    for axis, phase in zip(axes[0], phases):
        axis.set_title(textwrap.fill(phase, 20), size=10)
    axes[0, -1].set_title("OOD accuracy,\nstate at r1 patched", size=10)
    figure.suptitle(title_of(kinds))
    return figure


def draw_table(axis, lens):
    """Shares of questions, loops x (what is read, split)."""
    middle = dict(ha="center", va="center")
    if not lens:
        text = "phase not reached\n(or no snapshot)"
        axis.text(0.5, 0.5, text, color=GREY, transform=axis.transAxes, **middle)
        axis.set_axis_off()
        return
    columns = []
    for read in (0, 2):  # the bridge at r1, and the answer at r2; see measure_lens
        for split in SPLITS:
            shares, _ = lens[split]
            columns.append(shares[read])
    table = np.transpose(columns)
    axis.imshow(table, vmin=0, vmax=1, cmap="cividis", aspect="auto", origin="lower")
    for (y, x), share in np.ndenumerate(table):
        color = "k" if share > 0.6 else "w"
        axis.text(x, y, f"{share:.2f}", size=9, color=color, **middle)
    axis.axvline(1.5, color="w", lw=2)
    axis.set_xticks(range(4), [*SPLITS.values(), *SPLITS.values()], size=9)
    axis.set_yticks(range(len(table)), range(len(table)), size=9)
    below = dict(xycoords=("data", "axes fraction"), textcoords="offset points")
    below.update(xytext=(0, -18), ha="center", va="top", size=9)
    axis.annotate("bridge\nat r1", (0.5, 0), **below)
    axis.annotate("answer\nat r2", (2.5, 0), **below)


def draw_patching(axis, members):
    """
    OOD accuracy over the share of the state that was replaced, thin for a seed, bold for the
    median.
    """
    shares = [float(share) for share in members[0]["patched"]]
    values = [list(look["patched"].values()) for look in members]
    axis.plot(shares, np.transpose(values), color=ORANGE, lw=0.7, alpha=0.5)
    axis.plot(shares, np.median(values, axis=0), "o-", color=ORANGE, lw=2.2)
    last = list(members[0]["lens"].values())[-1]
    _, cosine = last["alone"]
    text = f"cosine to the bridge\nas given: {cosine[1]:.2f}"  # after the first loop
    axis.text(0.96, 0.05, text, ha="right", va="bottom", size=9, transform=axis.transAxes)
    axis.set(ylim=(-0.03, 1.03), xticks=(0, 0.5, 1))
    axis.set_xlabel("share of the state replaced", size=9)
    axis.tick_params(labelsize=9)


def title_of(kinds):
    """
    When bridge and answer appear (ID, at the end of the first run), and which kind of model
    patching helps most.
    """
    first_run = next(iter(kinds.values()))[0]
    (bridge_at_r1, _, answer_at_r2), _ = list(first_run["lens"].values())[-1]["val"]
    bridge, answer = first_above(bridge_at_r1), first_above(answer_at_r2)
    title = "Logit lens: when the entity between the hops (bridge) and the answer can be read."
    if bridge is not None and answer is not None:
        title = f"Logit lens: the entity between the hops (bridge) after loop {bridge}, "
        title += f"the answer after loop {answer}."
    medians = {}
    for kind, members in kinds.items():
        medians[kind] = np.median([list(look["patched"].values()) for look in members], axis=0)
    kind = max(medians, key=lambda kind: medians[kind][-1] - medians[kind][0])
    before, after = medians[kind][0], medians[kind][-1]
    who = f"{kind}, {seeds_text(len(kinds[kind]))}"
    title += f"\nWritten as a given entity, the bridge changes OOD from {before:.2f} to {after:.2f}"
    return f"{title} ({who})"


def first_above(shares, level=0.9):
    """The first loop after which a share is at least the level; None if there is none."""
    return next((t for t, share in enumerate(shares) if share >= level), None)


# --------------------------------------------------------------------------------------------------
# Say


def say_lens(looks):
    for look in looks:
        found = [f"{accuracy:.2f} ({share})" for share, accuracy in look["patched"].items()]
        text = f"OOD with a share of the state at r1 replaced: {', '.join(found)}"
        print(f"{look['kind']:<42} {look['seed']:>4}   {text}")
