"""
Look inside a loop: the phases of grokking and where its steps can be read, the states as they come to rest, and what
keeps them from blowing up. `python analyze.py phases | fixedpoint | stages | stability` calls these.
"""

import json
import math
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from figures import BLUE, GREY, ORANGE, plt, write
from looped import Config, LoopedGPT
from tasks import IGNORE, Composition, load_tensors, stream
from train import compute_loss, fail, load_model, trained_loops
from train import main as train_main

# -----------------------------------------------------------------------------
# phases

# split: what a model does that has reached 0.9 there, and the colour
PHASES = {
    "train": ("memorised", GREY),
    "val": ("composes held-out pairs (ID)", BLUE),
    "alone": ("composes facts seen alone (OOD)", ORANGE),
}


def kind_of(flags):
    """What a run trained, in words."""
    layers = f"{flags.n_core * flags.loops} layers, each used once"
    kind = "looped" if flags.tied else layers
    if flags.tied and flags.sampler == "fixed":
        kind = f"looped, always {flags.loops}" if flags.loops > 1 else f"{flags.n_core} layer, used once"
    return kind + (", re-embedding" if flags.reembed else "")


def check_seeds(all_flags):
    """Runs may be put together if they differ in their seed and in nothing else."""
    seeds = [flags.seed for flags in all_flags]
    if len({str(sorted({**vars(flags), "seed": 0}.items())) for flags in all_flags}) > 1:
        fail("these runs differ in more than their seed")
    if len(set(seeds)) < len(seeds):
        fail("two of these runs have the same seed")


def load_looped(runs, device):
    """[(model, task, flags)] of runs that loop and may be put together."""
    loaded = [load_model(run, device) for run in runs]
    for run, (_, _, flags) in zip(runs, loaded):
        if not flags.tied:
            fail(f"{run} is an untied run: it has no loop to look at")
    check_seeds([flags for _, _, flags in loaded])
    return loaded


def two_hops(task, split):
    """All two-hop questions of a split."""
    return task.batch(split, 0, len(task.listed[split, 2]), 2)


@torch.no_grad()
def lens(model, task, split, loops):
    """
    What can be read after each loop 0..loops (logit lens), as shares of the two-hop questions of a split: the bridge
    (the entity between the hops) at the first and at the second relation, the answer at the second. And the cosine
    between the state at the first relation and the bridge as the model sees it where it is given in a question.
    """
    batch = two_hops(task, split)
    bridge, answer = task.walk(batch.tokens)[:, 1:].T
    states = model.trajectory(batch.tokens, loops)  # (loops + 1, B, 3, C)
    read = model.readout(states.flatten(0, 1)).argmax(-1).view(states.shape[:3])
    seen = (read[:, :, 1] == bridge, read[:, :, 2] == bridge, read[:, :, 2] == answer)
    cosine = F.cosine_similarity(states[:, :, 1], given(model, bridge), dim=-1)
    return [shares.float().mean(1).tolist() for shares in seen], cosine.mean(1).tolist()


def given(model, entities):
    """(B, C): what a loop is told of entities (B,) that stand in the question."""
    _, e, _ = model.begin(entities[:, None])
    return e[:, 0]


@torch.no_grad()
def mend(model, task, split, loops, share):
    """
    Accuracy on two hops, all `loops` of them, after a share of the state at the first relation has been replaced, after
    the first loop, by the entity that can be read there, at equal norm: no knowledge is added, what was found is only
    written as a given entity would be (DiscoLoop 2026).
    """
    batch = two_hops(task, split)
    h, e, geometry = model.begin(batch.tokens)
    for t in range(loops):
        h = model.loop(h, e, t, geometry)
        if t == 0 and share > 0:
            read = model.readout(h)[:, 1, : task.entities].argmax(-1)
            mixture = (1 - share) * F.normalize(h[:, 1], dim=-1) + share * F.normalize(given(model, read), dim=-1)
            h[:, 1] = F.normalize(mixture, dim=-1) * h[:, 1].norm(dim=-1, keepdim=True)
    return task.check(batch, model.readout(h).argmax(-1)).float().mean().item()


def measure_phases(folder, device):
    """One run: its flags; three curves, the step at which each reached 0.9, the end; the look inside, if it loops."""
    model, task, flags = load_model(folder, device)
    if not isinstance(task, Composition):
        fail(f"{folder} is no run of --task composition")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    if not rows:
        fail(f"{folder} stopped before its first evaluation")
    found = dict(run=folder.name, kind=kind_of(flags), seed=flags.seed, steps=[row["step"] for row in rows])
    found["questions"] = {split: len(task.listed[split, 2]) for split in (*PHASES, "test")}
    found["curves"] = {split: [row[split]["2"] for row in rows] for split in PHASES}
    found["reached"] = {split: lasting(found["steps"], curve) for split, curve in found["curves"].items()}
    loops = found["loops"] = trained_loops(flags, task)["largest"]
    found["end"] = {split: mend(model, task, split, loops, share=0) for split in ("test", "alone")}
    look = dict(kind=found["kind"], seed=flags.seed)
    if flags.tied and loops > 1:
        look["lens"] = {}
        look["mended"] = {share: mend(model, task, "alone", loops, share) for share in (0.25, 0.5, 0.75, 1)}
        for name, step in ends_of_phases(found).items():
            snapshot = folder / "snapshots" / f"{step:06d}.pt"
            if snapshot.exists():
                model.load_state_dict(load_tensors(snapshot, device))
                look["lens"][name] = {split: lens(model, task, split, loops) for split in ("val", "alone")}
    return flags, found, look


def lasting(steps, curve):
    """The first of two evaluations in a row at 0.9 or more, None if there are none: one alone may be luck."""
    return next((step for step, *pair in zip(steps, curve, curve[1:]) if min(pair) >= 0.9), None)


def ends_of_phases(found):
    """The last evaluation of each phase that the run went through, {name: step}."""
    starts = [found["reached"][split] for split in PHASES]
    ends = {}
    for (name, _), start, following in zip(PHASES.values(), starts, [*starts[1:], None]):
        during = [step for step in found["steps"] if start and start <= step and (not following or step < following)]
        if during:
            ends[name] = during[-1]
    return ends


def phases(runs, folder, args):
    """Three phases of grokking: memorise, compose held-out pairs (ID), compose facts only ever seen alone (OOD)."""
    measured = [measure_phases(run, args.device) for run in tqdm(runs, desc="phases", leave=False)]
    kinds = {}
    for flags, found, _ in measured:
        kinds.setdefault((found["kind"], found["steps"][-1]), []).append((flags, found))
    for members in kinds.values():
        check_seeds([flags for flags, _ in members])
    kinds = {kind: [found for _, found in members] for kind, members in kinds.items()}
    print(f"\n{'':<42} {'seed':>4}   step of accuracy 0.9: train, ID, OOD   at the end: ID (test), OOD")
    for kind, steps in kinds:
        for each in kinds[kind, steps]:
            reached = "  ".join(f"{step or f'>{steps}':>6}" for step in each["reached"].values())
            end = f"{each['end']['test']:.3f}, {each['end']['alone']:.3f}"
            print(f"{kind:<42} {each['seed']:>4}   {reached:>36}   {end:>26}")
    write(folder, "phases", draw_phases(kinds), dict(runs=[found for _, found, _ in measured]))
    looks = [look for _, _, look in measured if look.get("lens")]
    for look in looks:
        shares = ", ".join(f"{accuracy:.2f} ({share})" for share, accuracy in look["mended"].items())
        print(f"{look['kind']:<42} {look['seed']:>4}   OOD with a share of the state at r1 replaced: {shares}")
    if looks:
        write(folder, "lens", draw_lens(looks), dict(runs=looks))
    else:
        print("no lens.png: that takes a looped run with --snapshots that reached a phase", file=sys.stderr)


def draw_phases(kinds):
    """A panel for each kind of model: accuracy over steps, thin for a seed, bold for the median; phases shaded."""
    size = (max(6.5, 3.6 * len(kinds) + 0.5), 4.2)
    shared = dict(layout="constrained", sharex=True, sharey=True, squeeze=False)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, **shared)
    for axis, ((kind, last), found) in zip(axes[0], kinds.items()):
        steps = found[0]["steps"]
        for split, (name, color) in PHASES.items():
            curves = [each["curves"][split] for each in found]
            axis.plot(steps, np.transpose(curves), color=color, lw=0.7, alpha=0.4)
            axis.plot(steps, np.median(curves, axis=0), color=color, lw=2.2, label=name)
        starts = [np.median([each["reached"][split] or np.inf for each in found]) for split in PHASES]
        for start, end, (_, color) in zip(starts, [*starts[1:], np.inf], PHASES.values()):
            if start < min(end, last):
                axis.axvspan(start, min(end, last), color=color, alpha=0.12, lw=0)
        held_out, alone = (np.median([each["end"][split] for each in found]) for split in ("test", "alone"))
        good = sum(each["end"]["alone"] >= 0.9 for each in found)
        result = f"ID {held_out:.2f}, OOD {alone:.2f} ({good} of {len(found)} seeds over 0.9)"
        axis.set_title(f"{kind}\n{result}", size="small")
        axis.set(xscale="log", xlabel="step (shaded: the phases, by median)", ylim=(-0.03, 1.03))
        axis.xaxis.set_minor_formatter(plt.NullFormatter())
    axes[0, 0].set_ylabel("accuracy on two-hop questions")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    able = [kind for (kind, _), found in kinds.items() if np.median([each["end"]["alone"] for each in found]) >= 0.9]
    title = "Facts only ever seen alone are composed, within these steps, by: "
    figure.suptitle(title + ("; ".join(able) or "none of these"))
    return figure


def draw_lens(looks):
    """A row for each looped kind; columns: the end of each phase, as loops x what is read where; then the cosine."""
    first = {}
    for look in looks:
        first.setdefault(look["kind"], look)
    looks = list(first.values())
    what = [f"{x}\n{s}" for x in ("bridge\nat r1", "bridge\nat r2", "answer\nat r2") for s in ("ID", "OOD")]
    size = (14, 3.3 * len(looks) + 0.4)
    figure, axes = plt.subplots(len(looks), 4, figsize=size, layout="constrained", squeeze=False)
    for row, look in zip(axes, looks):
        for axis, (name, _) in zip(row, PHASES.values()):
            axis.set_title(f"{look['kind']}\n{name}", fontsize="small")
            if name not in look["lens"]:
                text = "phase not reached\n(or no snapshot of it)"
                axis.text(0.5, 0.5, text, ha="center", transform=axis.transAxes, color=GREY)
                axis.set(xticks=[], yticks=[])
                continue
            shares = [look["lens"][name][split][0][i] for i in range(3) for split in ("val", "alone")]
            image = axis.imshow(np.transpose(shares), vmin=0, vmax=1, cmap="cividis", aspect="auto", origin="lower")
            for (x, y), share in np.ndenumerate(shares):
                axis.text(
                    x, y, f"{share:.2f}", ha="center", va="center", size="x-small", color="k" if share > 0.6 else "w"
                )
            axis.set_xticks(range(6), what, fontsize="x-small")
            axis.set(ylabel="loops", yticks=range(len(shares[0])))
        last = list(look["lens"].values())[-1]
        for split, label, color in (("val", "ID", BLUE), ("alone", "OOD", ORANGE)):
            row[-1].plot(last[split][1], "o-", color=color, label=label)
        row[-1].set(xlabel="loops", ylabel="cosine", ylim=(-0.1, 1.03))
        row[-1].set_title(f"{look['kind']}\nlast phase: state at r1, bridge as given", size="small")
        row[-1].legend(fontsize="small")
    figure.colorbar(image, ax=axes[:, :3], label="share of questions")
    figure.suptitle(
        "Logit lens: where the entity between the two hops (bridge) and the answer can be read (one seed of each kind)"
    )
    return figure


# -----------------------------------------------------------------------------
# fixedpoint


def layered(model, tokens, loops):
    """
    The states (loops + 1, B, T, C), and the state after every layer of every loop (loops, n_core, B, T, C);
    re-embedding comes after the last layer.
    """
    seen = []
    hooks = [block.register_forward_hook(lambda *call: seen.append(call[-1])) for block in model.core]
    states = model.trajectory(tokens, loops)
    for hook in hooks:
        hook.remove()
    return states, torch.stack(seen).unflatten(0, (loops, -1))


def auroc(score, label, group=None):
    """
    The chance that the score (N,) of a true label (N,) is above that of a false one; with `group` (N,) of pairs of one
    group only. nan if there is no pair.
    """
    above = score[label][:, None] - score[~label]
    wins = (above > 0).float() + 0.5 * (above == 0)
    return (wins if group is None else wins[group[label][:, None] == group[~label]]).mean().item()


def relative(x, to):
    """|x - to| / |to| of states (.., T, C)."""
    return (x - to).flatten(-2).norm(dim=-1) / to.flatten(-2).norm(dim=-1)


@torch.no_grad()
def measure_fixedpoint(model, task, flags, args):
    """One run, difficulties within and beyond training: a dict of tensors, N questions in each."""
    loops, top, size = args.loops or 128, task.max_difficulty, max(2, args.examples // 4)
    asked = task.difficulties("test")
    if task.grows and flags.position != "learned":
        asked = sorted({max(1, round(top * x)) for x in (1 / 2, 1, 2, 4, 6) if x <= args.factor})
    parts = []
    for difficulty in asked:
        batch = task.batch("test", 0, size, difficulty)
        torch.manual_seed(stream(flags.seed, "starts", difficulty))  # for the noise below and state_init="noise"
        states, layers = layered(model, batch.tokens, loops)
        ends = layers[-1].flatten(2)  # (n_core, B, T * C)
        right = [task.check(batch, model.readout(h).argmax(-1)) for h in states[1:]]
        part = dict(
            difficulty=batch.difficulty,
            movement=relative(states[:-1], states[1:]).T,  # (N, loops)
            size=states.norm(dim=-1).mean(-1).T / model.config.n_embd**0.5,  # (N, loops + 1)
            right=torch.stack(right, dim=1),  # (N, loops)
            distance=relative(layers, layers[-1]).permute(2, 0, 1),  # (N, loops, n_core)
            between=F.cosine_similarity(ends[:, None], ends[None], dim=-1).amin((0, 1)),  # of the layers' fixed points
        )
        for name, h in (("noise", torch.randn_like(states[0])), ("another's end", states[-1].roll(1, 0))):
            _, e, geometry = model.begin(batch.tokens)
            for t in range(loops):
                h = model.loop(h, e, t, geometry)
            part[f"alignment, {name}"] = F.cosine_similarity(h.flatten(1), states[-1].flatten(1))
            part[f"right, {name}"] = task.check(batch, model.readout(h).argmax(-1))
        parts.append({key: value.cpu() for key, value in part.items()})
        if difficulty == top or not task.grows:
            last = (batch.targets != IGNORE).float().cumsum(1).argmax(1)  # the last position where an answer is asked
            paths = states[:, range(size), last][:, :5].cpu()  # (loops + 1, 5, C)
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]} | dict(paths=paths)


def fixedpoint(runs, folder, args):
    """Does the state settle, and when, and only when, the answer is there? Several runs (seeds) are pooled."""
    loaded = load_looped(runs, args.device)
    _, task, flags = loaded[0]
    measured = [measure_fixedpoint(*each, args) for each in tqdm(loaded, desc="fixedpoint", leave=False)]
    paths = [found.pop("paths") for found in measured]
    pooled = {key: torch.cat([found[key] for found in measured]) for key in measured[0]}
    movement, right, difficulty = pooled["movement"], pooled["right"], pooled["difficulty"]
    loops = movement.shape[1]
    trained = min(trained_loops(flags, task)["largest"], loops)
    seeds = [each.seed for _, _, each in loaded]
    numbers = dict(task=flags.task, unit=task.unit, seeds=seeds, loops=loops, questions=len(right), by_difficulty=[])
    settled = movement < 0.05  # the default threshold of solve(rule="settle")

    def first_loop(holds):
        """The first loop from which `holds` (N, loops) is true to the end; loops + 1 if it is not."""
        return loops + 1 - holds.flip(1).long().cumprod(1).sum(1)

    answered, at_rest = first_loop(right), first_loop(settled)
    for each in difficulty.unique().tolist():
        rows = difficulty == each
        row = dict(difficulty=each, right=right[rows, -1].float().mean().item())
        row["answered"], row["at_rest"] = answered[rows].median().item(), at_rest[rows].median().item()
        row["movement"] = movement[rows].median(0).values.tolist()
        row["auroc"] = auroc(-movement[rows, -1], right[rows, -1])
        numbers["by_difficulty"].append(row)
    numbers["distance"] = pooled["distance"].median(0).values.T.tolist()  # [layer][loop]
    numbers["least_cosine_between_layers"] = pooled["between"].median().item()
    numbers["auroc"] = [auroc(-movement[:, t], right[:, t]) for t in range(loops)]
    numbers["auroc_within"] = [auroc(-movement[:, t], right[:, t], difficulty) for t in range(loops)]
    numbers["size"] = pooled["size"].median(0).values.tolist()
    for holds, name in ((right[:, -1], "right"), (~right[:, -1], "wrong")):
        numbers[f"at_rest_if_{name}"] = settled[holds, -1].float().mean().item()
        numbers[f"movement_if_{name}"] = movement[holds].median(0).values.tolist() if holds.any() else None
        for start in ("noise", "another's end"):
            alignment = pooled[f"alignment, {start}"][holds]
            numbers[f"alignment_from_{start}_if_{name}"] = alignment.mean().item()
    for start in ("noise", "another's end"):
        numbers[f"right_from_{start}"] = pooled[f"right, {start}"].float().mean().item()
    numbers["right"] = right[:, -1].float().mean().item()
    print_fixedpoint(numbers, trained)
    write(folder, "fixedpoint", draw_fixedpoint(numbers, answered, at_rest, difficulty, paths[0], trained), numbers)


def print_fixedpoint(numbers, trained):
    print(f"\n{numbers['unit']:>20}   right   right from loop   at rest from loop   AUROC (rest -> right)")
    for row in numbers["by_difficulty"]:
        answered, at_rest = (t if t <= numbers["loops"] else "never" for t in (row["answered"], row["at_rest"]))
        text = f"{row['difficulty']:>20}   {row['right']:.3f}   {answered:>15}   {at_rest:>17}"
        print(f"{text}   {row['auroc']:>21.3f}")
    moments = sorted({min(t, numbers["loops"]) for t in (trained, 2 * trained, numbers["loops"])})
    for key, what in (("auroc", "all pairs"), ("auroc_within", "pairs of equal difficulty")):
        print(f"AUROC over {what}: " + ", ".join(f"{numbers[key][t - 1]:.3f} after {t} loops" for t in moments))
    print("size of the state: " + ", ".join(f"{numbers['size'][t]:.2f} after {t} loops" for t in moments))
    at_rest = [f"{numbers[f'at_rest_if_{name}']:.3f} of the {name}" for name in ("right", "wrong")]
    print(f"at rest in the end: {', '.join(at_rest)}")
    for start in ("noise", "another's end"):
        right, wrong = (numbers[f"alignment_from_{start}_if_{name}"] for name in ("right", "wrong"))
        text = f"from {start}: cosine to the usual end {right:.3f} where that is right, {wrong:.3f} where wrong"
        print(f"{text}; accuracy {numbers[f'right_from_{start}']:.3f} (usual start {numbers['right']:.3f})")


def draw_fixedpoint(numbers, answered, at_rest, difficulty, paths, trained):
    figure, ((a, b, c), (d, e, f)) = plt.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    rows, steps = numbers["by_difficulty"], range(1, numbers["loops"] + 1)
    for i, row in enumerate(rows):
        color = plt.cm.viridis(i / max(1, len(rows) - 1) * 0.9)
        a.plot(steps, row["movement"], color=color, label=f"{row['difficulty']} (right: {row['right']:.2f})")
        rest = at_rest[difficulty == row["difficulty"]]
        d.scatter(answered[difficulty == row["difficulty"]] * 1.03**i, rest, color=color, s=6, alpha=0.5)
    a.legend(title=f"difficulty ({numbers['unit']})", fontsize="small")
    a.set_title("Movement, median by difficulty", size="medium")
    for name, color in (("right", BLUE), ("wrong", ORANGE)):
        if numbers[f"movement_if_{name}"]:
            b.plot(steps, numbers[f"movement_if_{name}"], color=color, label=f"{name} in the end")
    b.legend()
    b.set_title("Movement, right against wrong answers", size="medium")
    for layer, distance in enumerate(numbers["distance"]):
        c.plot(
            steps[:-1], distance[:-1], color=plt.cm.cividis(layer / len(numbers["distance"])), label=f"layer {layer}"
        )
    c.legend()
    c.set_title("Distance to the last state, by layer of the core", size="medium")
    for axis, label in ((a, "|h_t - h_(t-1)| / |h_t|"), (b, "|h_t - h_(t-1)| / |h_t|"), (c, "|h_t - h_end| / |h_end|")):
        axis.set(xlabel="loop", ylabel=label, xscale="log", yscale="log")
        axis.axvline(trained, color="k", lw=0.8, ls="--")
    d.plot([1, numbers["loops"]], [1, numbers["loops"]], color=GREY, lw=0.8)
    d.set(xlabel="right from this loop on", ylabel="moves < 0.05 from this loop on", xscale="log", yscale="log")
    d.set_title("Each question: answered, then at rest (far edge: never)", size="medium")
    e.plot(steps, numbers["auroc"], color=BLUE, label="all pairs")
    e.plot(steps, numbers["auroc_within"], color=ORANGE, label="pairs of equal difficulty")
    e.legend(fontsize="small")
    e.axhline(0.5, color=GREY, lw=0.8)
    e.axvline(trained, color="k", lw=0.8, ls="--")
    e.set(xlabel="loop (dashed: the most in training)", ylabel="AUROC", xscale="log", ylim=(0, 1.03))
    e.set_title("How well little movement predicts a right answer", size="medium")
    flat = paths.flatten(0, 1) - paths.flatten(0, 1).mean(0)
    plane = (flat @ torch.linalg.svd(flat, full_matrices=False).Vh[:2].T).view(*paths.shape[:2], 2)
    for i in range(plane.shape[1]):
        f.plot(*plane[:, i].T, ".-", lw=0.8, ms=4)
        f.plot(*plane[-1, i], "k*", ms=9)
    f.set(xlabel="first principal component", ylabel="second")
    f.set_title("State at the answer, five questions (star: the end)", size="medium")
    seeds = len(numbers["seeds"])
    title = (
        f"{numbers['task']}: after {numbers['loops']} loops {numbers['at_rest_if_right']:.2f} of the right answers and "
    )
    title += f"{numbers['at_rest_if_wrong']:.2f} of the wrong are at rest; from another's end "
    elsewhere = numbers["right_from_another's end"]
    title += f"{elsewhere:.2f} are right, usually {numbers['right']:.2f}"
    figure.suptitle(f"{title} ({seeds} seed{'s' * (seeds > 1)})")
    return figure


# -----------------------------------------------------------------------------
# stages


class WatchAttention(TorchFunctionMode):
    """`with torch.no_grad(), WatchAttention() as watch`: watch.patterns, the attention (B, H, T, T) of each layer."""

    def __init__(self):
        super().__init__()
        self.patterns = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            q, k = args[:2]
            scores = q @ k.mT / q.shape[-1] ** 0.5
            if kwargs["attn_mask"] is not None:
                scores = scores + kwargs["attn_mask"]
            elif kwargs["is_causal"]:
                scores = scores.masked_fill(torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -math.inf)
            self.patterns.append(scores.softmax(-1))
        return function(*args, **(kwargs or {}))


def entropy(p):
    """Of distributions along the last dimension, in nats."""
    return torch.special.entr(p).sum(-1)


@torch.no_grad()
def measure_stages(model, batch, loops):
    """What a model does layer by layer (depth: loops * n_core layers), averaged over questions of equal length."""
    T, asked = batch.tokens.shape[1], batch.targets != IGNORE
    with WatchAttention() as watch:
        states = model.trajectory(batch.tokens, loops)
    patterns = torch.stack(watch.patterns[model.config.n_prelude :])  # (depth, B, H, T, T)
    difference = [(patterns - one).flatten(3).norm(dim=3).mean((1, 2)).tolist() for one in patterns]
    columns = patterns.sum(3) / T  # (depth, B, H, T): how attention is shared out among the positions looked at
    predictions = torch.stack([model.readout(h, asked=asked).softmax(-1) for h in states])  # (loops + 1, N, vocab)
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


def stages(runs, folder, args):
    """Do the loops repeat the same stages? Attention layer by layer, each run against its untied control."""
    found = []
    for run, (model, task, flags) in zip(runs, tqdm(load_looped(runs, args.device), desc="stages", leave=False)):
        hardest = task.max_difficulty if task.grows else task.difficulties("test")[-1]
        batch = task.batch("test", 0, min(args.examples, 64), hardest)
        loops = args.loops or 2 * trained_loops(flags, task)["largest"]
        found.append(dict(seed=flags.seed, looped=measure_stages(model, batch, loops), untied=None))
        if (run / "control" / "checkpoint.pt").exists():
            untied, _, _ = load_model(run / "control", args.device)
            found[-1]["untied"] = measure_stages(untied, batch, untied.config.loops)
    title = f"{flags.task}, {task.name_of(hardest)}"
    write(folder, "stages", draw_stages(found, title), dict(task=flags.task, difficulty=hardest, runs=found))


def draw_stages(found, title):
    figure, ((a, b, c), (d, e, f)) = plt.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    kinds = {"looped": BLUE} | ({"untied": ORANGE} if all(each["untied"] for each in found) else {})
    layers, order = found[0]["looped"]["layers"], "layer in the order of running"
    b.set_axis_off()
    repeats = {}  # kind: the first loop whose attention the next loop repeats, to a tenth of the largest distance
    for axis, kind in zip((a, b), kinds):
        matrix = np.mean([each[kind]["difference"] for each in found], axis=0)
        to_next = np.diagonal(matrix, layers).reshape(-1, layers).max(1)  # of loop t to loop t + 1, the worst layer
        steady = to_next < 0.1 * matrix.max()
        repeats[kind] = next((f"from loop {t + 1} on" for t in range(len(steady)) if steady[t:].all()), "never")
        axis.set_axis_on()
        image = axis.imshow(matrix, cmap="cividis", origin="lower")
        axis.set(xlabel=order, ylabel=order)
        axis.set_title(f"{kind} ({found[0][kind]['norm']}-norm): distance between attention patterns", size="medium")
        figure.colorbar(image, ax=axis, label="Frobenius norm, mean over heads")
    for axis, key, label, every in (
        (c, "concentration", "concentration (1: all on one position)", 1),
        (d, "mixing", "mixing: entropy of a row (nats)", 1),
        (e, "prediction_entropy", "entropy of the prediction (nats)", layers),
        (f, "matrix_entropy", "matrix entropy of the state (nats)", layers),
    ):
        for kind, color in kinds.items():
            curves = np.array([each[kind][key] for each in found])
            axis.plot(every * np.arange(curves.shape[1]), curves.T, color=color, lw=0.7, alpha=0.5)
            axis.plot(every * np.arange(curves.shape[1]), curves.mean(0), ".-", color=color, label=kind)
        axis.set(xlabel=order, ylabel=label)
    c.legend()
    title += f", {layers} layer{'s' * (layers > 1)} a loop: attention repeats "
    title += "; ".join(f"{when} ({kind})" for kind, when in repeats.items())
    figure.suptitle(f"{title} ({len(found)} seed{'s' * (len(found) > 1)})")
    return figure


# -----------------------------------------------------------------------------
# stability


@torch.no_grad()
def untrained(norm, injection, std, seeds, loops=128, layers=12, C=64, T=16):
    """
    A random core of 12 layers with weights of a standard deviation (Blayney 2026): how far the last of 128 loops still
    moves the state, its size (RMS), and the least cosine between the last states of two layers (1: a degenerate fixed
    point, no layer changes the direction of the state). Medians of seeds. A state that grows by equal
    steps moves by 1 / t in loop t: 0.008 is no rest.
    """
    rows = []
    for seed in seeds:
        torch.manual_seed(stream(seed, "untrained"))
        sizes = dict(vocab_size=64, block_size=T, n_embd=C, n_core=layers, position="rope")
        model = LoopedGPT(Config(**sizes, norm=norm, injection=injection))
        drawn = [*model.core.parameters(), *(model.inject.parameters() if injection == "concat" else [])]
        for parameter in drawn:
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=std)
        states, layered_states = layered(model, torch.randint(64, (4, T)), loops)
        ends = layered_states[-1].flatten(2)  # (layers, B, T * C)
        movement = relative(states[-2], states[-1]).mean().item()
        size = states[-1].norm(dim=-1).mean().item() / C**0.5
        rows.append((movement, size, F.cosine_similarity(ends[:, None], ends[None], dim=-1).mean(2).min().item()))
    return dict(zip(("movement", "size", "cosine"), np.median(rows, axis=0).tolist()))


def trained_at(lr, injection, seed, steps, folder):
    """
    Train a small pre-norm loop for addition (Parcae 2026 varies the same two): the loss on val after 8 loops, the size
    of the state after 8 and 32, and the spectral radius of the loop's linear part. Infinite where training diverged.
    """
    argv = "--task addition --norm pre --n_prelude 1 --n_coda 1 --sampler poisson --loops 8 --no-curriculum --clip 0"
    argv += f" --injection {injection} --lr {lr} --seed {seed} --steps {steps} --eval_every {steps} --eval_size 10"
    try:
        with open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
            train_main([*argv.split(), "--device", "cpu", "--overwrite", "--out", str(folder)])
    except SystemExit as stop:
        if stop.code != 1:  # 1: the loss was no number any more
            raise
        return dict(loss=math.inf, size_8=math.inf, size_32=math.inf, radius=math.inf)
    if not (folder / "metrics.jsonl").read_text():
        raise KeyboardInterrupt  # which training has answered by stopping early
    model, task, flags = load_model(folder)
    batch = task.batch("val", 0, 200)
    with torch.no_grad():
        loss, _ = compute_loss(flags, model, batch, torch.full((200,), 8))
        sizes = model.trajectory(batch.tokens, 32).norm(dim=-1).mean((1, 2)) / model.config.n_embd**0.5
        linear = torch.eye(model.config.n_embd)
        if injection == "diagonal":
            linear = torch.diag(model.inject.decay())
        if injection == "concat":
            linear = model.inject.mix.weight[:, : model.config.n_embd]
        radius = torch.linalg.eigvals(linear).abs().max().item()
    return dict(loss=loss.item(), size_8=sizes[8].item(), size_32=sizes[32].item(), radius=radius)


RATES, INJECTIONS = (1e-3, 3e-3, 1e-2, 3e-2), ("none", "add", "concat", "diagonal")
WEIGHTS = {  # of the random cores: 1 / sqrt(64), which keeps the scale of an input of width 64, and GPT-2's
    f"{norm}, {std}": (norm, std) for std in (0.125, 0.02) for norm in ("pre", "post", "sandwich")
}


def stability(runs, folder, args):
    """Two grids without a run: norm x injection at random weights, learning rate x injection in training."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds, random, trained = range(3), [], []
    print("random weights, 128 loops        last movement   size of the state   least cosine of two layers' ends")
    for name, injection in tqdm(list(product(WEIGHTS, INJECTIONS)), desc="random weights", leave=False):
        norm, std = WEIGHTS[name]
        row = untrained(norm, injection, std, seeds)
        random.append(dict(norm=norm, std=std, injection=injection, **row))
        tqdm.write(f"{name:>16} {injection:>9}   {row['movement']:>16.1e} {row['size']:>19.1f} {row['cosine']:>26.3f}")
    print(f"training, pre-norm, {args.steps} steps   loss of each seed   size after 8, 32 loops   spectral radius")
    with tempfile.TemporaryDirectory() as scratch:
        for rate, injection in tqdm(list(product(RATES, INJECTIONS)), desc="training", leave=False):
            each = [trained_at(rate, injection, seed, args.steps, Path(scratch)) for seed in seeds]
            losses = ", ".join(f"{found['loss']:.3f}" for found in each)
            row = dict(lr=rate, injection=injection, diverged=sum(found["loss"] == math.inf for found in each))
            row |= {key: float(np.median([found[key] for found in each])) for key in each[0]}
            trained.append(row)
            sizes = f"{row['size_8']:>11.1f} {row['size_32']:>10.1f} {row['radius']:>17.3f}"
            tqdm.write(f"{rate:>16} {injection:>9} {losses:>24} {sizes}")
    numbers = dict(seeds=list(seeds), steps=args.steps, random=random, trained=trained)
    write(folder, "stability", draw_stability(numbers), numbers)


def draw_stability(numbers):
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), layout="constrained")
    rates, seeds = [f"{rate:g}" for rate in RATES], len(numbers["seeds"])
    panels = (
        ("random", "movement", WEIGHTS, "log10 of the movement in loop 128"),
        ("random", "cosine", WEIGHTS, "least cosine between layers' last states"),
        ("trained", "loss", rates, f"loss after {numbers['steps']} steps (nats)"),
        ("trained", "size_32", rates, "log10 of the state's size after 32 loops"),
    )
    for axis, (grid, key, names, title) in zip(axes, panels):
        table = np.array([row[key] for row in numbers[grid]]).reshape(-1, len(INJECTIONS))
        if "log10" in title:
            table = np.log10(np.maximum(table, 1e-9))
        table[~np.isfinite(table)] = np.nan  # diverged
        image = axis.imshow(table, cmap="cividis", aspect="auto")
        for (y, x), value in np.ndenumerate(table):
            dark = value < np.nanmin(table) + 0.6 * np.ptp(table[np.isfinite(table)])
            text = f"{value:.2f}" if np.isfinite(value) else "diverged"
            axis.text(x, y, text, ha="center", va="center", size="small", color="w" if dark else "k")
        axis.set_xticks(range(len(INJECTIONS)), INJECTIONS, size="small")
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="injection", ylabel="norm, standard deviation" if grid == "random" else "learning rate")
        axis.set_title(f"{grid} weights: {title}", size="small")
        figure.colorbar(image, ax=axis)
    last = {row["injection"]: row for row in numbers["trained"][-len(INJECTIONS) :]}
    sizes = ", ".join(f"{last[name]['size_32']:.2g} ({name})" for name in INJECTIONS)
    figure.suptitle(
        f"Trained at learning rate {rates[-1]}, 32 loops leave a state of size {sizes}; medians of {seeds} seeds"
    )
    return figure
