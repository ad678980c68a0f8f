"""
Look at a trained run: `python analyze.py WHAT runs/NAME` writes WHAT.png and WHAT.json, the numbers under the picture,
into the run folder.

    depth       accuracy over difficulty x loops, against the untied control
    compare     the depth.json of several runs in one picture
    compute     accuracy against the loops spent, for each rule of when to stop
    think       what the model would answer after each loop, for one question of each of a few difficulties
    phases      composition: memorising, composing, composing facts only ever seen alone; lens.png: where it happens
    fixedpoint  how far each loop moves the state, and whether it rests when, and only when, the answer is there
    stages      what each layer of each loop attends to, against the untied control
    stability   no run needed: norms, injections and learning rates, at random weights and in short training
    solve       the puzzles of a file (--file), by a Sudoku model
    cost        parameters, FLOPs, milliseconds and memory over loops, against an untied stack
    cache       addition read digit by digit, with a cache for each loop and with one that loops share
    bench       no run needed: the speed of this code, in training, inference and generation
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench import bench, cache, cost
from figures import BLUE, GREEN, GREY, ORANGE, plt, write
from inside import check_seeds, fixedpoint, load_looped, phases, stability, stages
from tasks import IGNORE, Batch, Sudoku, stream
from train import fail, find_device, load_model, run, task_flags, trained_loops

# -----------------------------------------------------------------------------
# depth


def difficulties_of(task, split, factor, position=None):
    """Every trained difficulty, then wider steps up to factor times the hardest; of puzzles, those with 20 or more."""
    top = task.max_difficulty
    if task.grows and position != "learned":  # which has no positions beyond those of training
        beyond = {round(top * x) for x in (4 / 3, 5 / 3, 2, 2.5, 3, 4, 5, 6, 7, 8) if x <= factor}
        return sorted({*range(1, top + 1), *beyond})
    if not isinstance(task, Sudoku):
        return task.difficulties(split)
    values, counts = task.bank[split]["difficulty"].unique(return_counts=True)
    return values[counts >= min(20, counts.max())].tolist()


@torch.no_grad()
def accuracy_by_loop(model, task, split, difficulty, loops, examples):
    """
    After each loop 1..loops, on the first batch of a split: the accuracy, and the margin, how far the logit of the
    right answer is above the best wrong one (mean over all places where an answer is asked).
    """
    batch = task.batch(split, 0, examples, difficulty)
    asked = batch.targets != IGNORE
    accuracy, margin = [], []
    for t, h in enumerate(model.states(batch.tokens, loops)):
        if t > 0:
            logits = model.readout(h)
            accuracy.append(task.check(batch, logits.argmax(-1)).sum().item() / examples)
            target = batch.targets[asked][:, None]
            best_wrong = logits[asked].scatter(1, target, -torch.inf).amax(1)
            margin.append((logits[asked].gather(1, target)[:, 0] - best_wrong).mean().item())
    return accuracy, margin


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


def measure_depth(folder, model, task, flags, args):
    """One run: accuracy of each difficulty after each loop, at the loops that val chooses, and the control's."""
    trained = trained_loops(flags, task)
    loops = max(args.loops or min(96, 6 * trained["largest"] + 4), trained["largest"])
    untied = None
    if (folder / "control" / "checkpoint.pt").exists():
        untied, _, other = load_model(folder / "control", args.device)
        for name in ("seed", "steps", *task_flags(flags.task)):
            if getattr(flags, name) != getattr(other, name):
                fail(f"{folder}/control is no control of {folder}: its --{name} is another")
    if not flags.tied:
        loops = flags.loops
    most = min(trained["largest"], loops)
    found = dict(seed=flags.seed, accuracy=[], margin=[], best_loops=[], accuracy_at_best_loops=[], distinct=[])
    found["loops_needed"] = []  # the fewest that reach 0.9 on val, None if there are none
    found["control"] = [] if untied else None
    difficulties = difficulties_of(task, "test", args.factor, flags.position)
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
        found["loops_needed"].append(next((t for t, accuracy in enumerate(val, 1) if accuracy >= 0.9), None))
        found["best_loops"].append(best + 1)
        found["distinct"].append(len(task.batch("test", 0, args.examples, difficulty).tokens.unique(dim=0)))
        found["accuracy_at_best_loops"].append(test[best])
        if untied:
            all_layers, _ = accuracy_by_loop(untied, task, "test", difficulty, untied.config.loops, args.examples)
            found["control"].append(all_layers[-1])
    found["accuracy_at_trained_loops"] = [row[most - 1] for row in found["accuracy"]]
    shared = dict(task=flags.task, unit=task.unit, difficulty=difficulties, loops=list(range(1, loops + 1)))
    shared["difficulty_names"] = [task.name_of(difficulty) for difficulty in difficulties]
    return {**shared, "trained_difficulty": task.max_difficulty, "trained_loops": trained}, found


def depth(runs, folder, args):
    """The heat map, the best loop count of each difficulty (chosen on val, reported on test) and the control."""
    loaded = [load_model(run, args.device) for run in runs]
    check_seeds([flags for _, _, flags in loaded])
    measured = [measure_depth(run, *each, args) for run, each in zip(runs, loaded)]
    numbers, each = measured[0][0], [found for _, found in measured]

    def mean(key):
        return np.mean([found[key] for found in each], axis=0).round(5).tolist()

    for key in ("accuracy", "margin", "accuracy_at_trained_loops", "accuracy_at_best_loops"):
        numbers[key] = mean(key)
    numbers["control"] = mean("control") if all(found["control"] for found in each) else None
    numbers.update(examples=args.examples, seeds=[found["seed"] for found in each], by_run=each)

    unit, most = numbers["unit"], numbers["trained_loops"]["largest"]
    print(f"\n{unit:>22}   {most} loops, as trained   best loops (chosen on val)   untied control")
    for i, name in enumerate(numbers["difficulty_names"]):
        chosen = ", ".join(str(found["best_loops"][i]) for found in each)
        trained, best = numbers["accuracy_at_trained_loops"][i], numbers["accuracy_at_best_loops"][i]
        control = f"{numbers['control'][i]:.3f}" if numbers["control"] else "-"
        print(f"{name.split()[0]:>22}   {trained:>20.3f}   {best:>10.3f} at {chosen:<12}   {control:>14}")
    for found in each:
        mixture = found["mixture"]
        text = (
            f"{mixture['accuracy_at_trained_loops']:>20.3f}   {mixture['accuracy']:>10.3f} at {mixture['best_loops']}"
        )
        print(f"{'mixture of training':>22}   {text} (seed {found['seed']})")
    needed = [(d, t) for found in each for d, t in zip(numbers["difficulty"], found["loops_needed"]) if t and d > 0]
    if len({d for d, _ in needed}) > 2:
        d, t = zip(*needed)
        linear, logarithmic = fit_line(d, t), fit_line(np.log2(d), t)
        numbers["growth"] = dict(loops_a_step=linear[1], r2_linear=linear[2], r2_logarithmic=logarithmic[2])
        print(
            f"loops needed for 0.9 (val): {linear[1]:.2f} more for each step of difficulty (R2 {linear[2]:.2f}; "
            f"as a logarithm: {logarithmic[1]:.2f} for each doubling, R2 {logarithmic[2]:.2f})"
        )
    numbers["fit"] = fit_exponential(1 - np.mean([found["mixture"]["by_loop"] for found in each], axis=0))
    fit = "{e_inf:.3f} + {A:.2f} exp(-{k:.3f} L), residual {residual:.3f}".format(**numbers["fit"])
    print(f"error after L loops on the mixture of training: {fit}")
    write(folder, "depth", draw_depth(numbers), numbers)


def draw_depth(numbers):
    """The heat map over difficulty x loops; three ways to choose the loops, and the control; loops needed; margin."""
    difficulties, unit, loops = numbers["difficulty"], numbers["unit"], numbers["loops"][-1]
    top, most, seeds = numbers["trained_difficulty"], numbers["trained_loops"]["largest"], len(numbers["seeds"])
    best, as_trained = numbers["accuracy_at_best_loops"], numbers["accuracy_at_trained_loops"]
    figure, axes = plt.subplots(2, 2, figsize=(11.5, 8.2), width_ratios=(1.4, 1), layout="constrained")
    (left, right), (margin, needed) = axes

    style = dict(aspect="auto", origin="lower", vmin=0, vmax=1, cmap="cividis")
    image = left.imshow(numbers["accuracy"], extent=(0.5, loops + 0.5, -0.5, len(difficulties) - 0.5), **style)
    left.set_yticks(range(len(difficulties)), [name.split()[0] for name in numbers["difficulty_names"]])
    left.set(xlabel="loops", ylabel=f"difficulty ({unit})")
    label = dict(color="white", bbox=dict(facecolor="black", alpha=0.7, linewidth=0, pad=2), fontsize="small")
    trained = sum(difficulty <= top for difficulty in difficulties)
    for color, line in (("black", "-"), ("white", "--")):  # seen on dark and on bright
        left.axvline(most + 0.5, color=color, ls=line)
        if trained < len(difficulties):
            left.axhline(trained - 0.5, color=color, ls=line)
    left.text(most + 1, -0.3, "most loops in training", rotation=90, va="bottom", **label)
    if trained < len(difficulties):
        left.text(loops - 0.5, trained - 0.7, "hardest in training", ha="right", va="top", **label)
    figure.colorbar(image, ax=left, label=f"accuracy (test, {numbers['examples']} questions a cell)")

    everywhere = [row[-1] for row in numbers["accuracy"]]
    right.plot(difficulties, best, "o-", color=BLUE, label="looped, loops chosen on val for each difficulty")
    right.plot(difficulties, everywhere, "x-.", color=GREEN, label=f"looped, {loops} loops for every question")
    right.plot(difficulties, as_trained, "s--", color=ORANGE, label=f"looped, {most} loops, the most in training")
    if numbers["control"]:
        right.plot(difficulties, numbers["control"], "^:", color=GREY, label=f"untied control, {most} layers")
    right.axvline(top + 0.5, color="k", lw=0.8, ls="--")
    right.set(xlabel=f"difficulty ({unit})", ylabel="accuracy (test)", ylim=(-0.03, 1.03))
    right.legend(fontsize="small", loc="best")

    for i, (difficulty, curve) in enumerate(zip(difficulties, numbers["margin"])):
        color = plt.cm.viridis(0.92 * i / max(1, len(difficulties) - 1))
        margin.plot(numbers["loops"], curve, color=color, label=numbers["difficulty_names"][i].split()[0])
    margin.axhline(0, color="k", lw=0.8)
    margin.axvline(most, color="k", lw=0.8, ls="--")
    margin.set(xlabel="loops (dashed: the most in training)", ylabel="logit of the right answer - best wrong one")
    margin.legend(title=f"difficulty ({unit})", fontsize="x-small", ncols=2)
    for found in numbers["by_run"]:
        needed.plot(difficulties, [t or np.nan for t in found["loops_needed"]], "o-", color=BLUE, lw=0.8, ms=4)
    if "growth" in numbers:
        growth = numbers["growth"]
        title = f"{growth['loops_a_step']:.2f} loops a step (R2 {growth['r2_linear']:.2f}; logarithm: "
        needed.set_title(f"{title}{growth['r2_logarithmic']:.2f})", size="medium")
    needed.set(xlabel=f"difficulty ({unit})", ylabel="fewest loops for accuracy 0.9 (val)", ylim=(0, None))

    def solved(accuracies):
        """The hardest difficulty up to which every one is solved."""
        failed = next((i for i, accuracy in enumerate(accuracies) if accuracy < 0.9), len(difficulties))
        return numbers["difficulty_names"][failed - 1].split()[0] if failed else "none"

    title = (
        f"{numbers['task']}, trained to {top} {unit}: solves {solved(as_trained)} with {most} loops, as in training, "
    )
    title += f"{solved(best)} with the best count\n(accuracy at least 0.9; {seeds} seed{'s' * (seeds > 1)})"
    figure.suptitle(title)
    return figure


def compare(folders, folder, args):
    """Accuracy over difficulty, loops chosen on val, of runs that `depth` has measured; median and range of seeds."""
    found = {}
    for each in folders:
        try:
            found[each.name] = json.loads((each / "depth.json").read_text())
        except (OSError, ValueError):
            fail(f"{each} has no depth.json: run `analyze.py depth {each}` first")
    names, first = list(found), next(iter(found.values()))
    keys = ("task", "difficulty", "trained_difficulty", "examples")
    if wrong := [name for name in names if any(found[name][key] != first[key] for key in keys)]:
        fail(f"{wrong[0]} and {names[0]} differ in task or difficulties")
    numbers = {key: first[key] for key in (*keys, "unit")}
    numbers.update(seeds={name: found[name]["seeds"] for name in names}, median={}, lowest={}, highest={})
    figure, axis = plt.subplots(figsize=(8, 4.6), layout="constrained")
    print(f"\n{first['unit']:>16}  " + "  ".join(f"{d:>5}" for d in first["difficulty"]))
    for i, name in enumerate(names):
        rows = np.array([run["accuracy_at_best_loops"] for run in found[name]["by_run"]])
        for key, values in dict(median=np.median(rows, 0), lowest=rows.min(0), highest=rows.max(0)).items():
            numbers[key][name] = values.round(4).tolist()
        print(f"{name:>16}  " + "  ".join(f"{accuracy:.3f}" for accuracy in numbers["median"][name]))
        style = dict(color=plt.cm.viridis(0.92 * i / max(1, len(names) - 1)), marker="os^vDxP*<>"[i % 10])
        axis.plot(first["difficulty"], numbers["median"][name], label=name, **style)
        axis.fill_between(first["difficulty"], rows.min(0), rows.max(0), color=style["color"], alpha=0.12, lw=0)
    axis.axvline(first["trained_difficulty"] + 0.5, color="k", lw=0.8, ls="--")
    axis.set(xlabel=f"difficulty ({first['unit']}; dashed: the hardest in training)", ylabel="accuracy (test)")
    axis.legend(fontsize="small", bbox_to_anchor=(1, 1))
    best = max(names, key=lambda name: sum(numbers["median"][name]))
    seeds = sorted({len(each) for each in numbers["seeds"].values()})
    axis.set_title(f"{first['task']}: {best} goes furthest (median and range of {'/'.join(map(str, seeds))} seeds)")
    write(folder, "compare", figure, numbers)


# -----------------------------------------------------------------------------
# compute

THRESHOLDS = dict(
    settle=(0.3, 0.1, 0.05, 0.01, 0.001),
    kl=(0.1, 0.01, 0.001, 1e-4, 1e-6),
    entropy=(1.0, 0.3, 0.1, 0.03, 0.003),
)


@torch.no_grad()
def measure_exits(model, task, flags, split, args):
    """One run: difficulty (N,), and for each exit rule and threshold whether it was right and its loops, (N,) each."""
    loops, size = args.loops or min(64, 6 * trained_loops(flags, task)["largest"]), max(2, args.examples // 5)
    parts, top = [], task.max_difficulty
    asked_for = difficulties_of(task, split, args.factor, flags.position)
    if task.grows:  # every third of the trained ones is enough
        asked_for = [d for d in asked_for if d > top or d % max(1, top // 3) == 0]
    for difficulty in tqdm(asked_for, desc="compute", leave=False):
        torch.manual_seed(stream(flags.seed, "starts", difficulty))  # for state_init="noise"
        batch = task.batch(split, 0, size, difficulty)
        asked, part = batch.targets != IGNORE, {"difficulty": batch.difficulty}
        states = list(model.states(batch.tokens, loops))[1:]
        for t, h in enumerate(states, 1):
            part["fixed", t] = torch.stack(
                (task.check(batch, model.readout(h).argmax(-1)), torch.full_like(batch.difficulty, t))
            )
        for rule, thresholds in THRESHOLDS.items():
            for threshold in thresholds:
                logits, used = model.solve(batch.tokens, rule, threshold, loops, asked)
                part[rule, threshold] = torch.stack((task.check(batch, logits.argmax(-1)), used))
        parts.append({key: value.cpu() for key, value in part.items()})
    return {key: torch.cat([part[key] for part in parts], dim=-1) for key in parts[0]}


def compute(runs, folder, args):
    """Accuracy against the loops spent by each exit rule, easy and hard questions apart. Runs (seeds) are pooled."""
    loaded = load_looped(runs, args.device)
    _, task, flags = loaded[0]
    if task.grows and max(difficulties_of(task, "test", args.factor, flags.position)) == task.max_difficulty:
        fail("compute compares trained and harder questions, and there are no harder ones: raise --factor")

    def pooled(split):
        each = [measure_exits(*run, split, args) for run in loaded]
        return {key: torch.cat([found[key] for found in each], dim=-1) for key in each[0]}

    val, test = pooled("val"), pooled("test")
    difficulty, top = test["difficulty"], task.max_difficulty
    hard = difficulty > top if task.grows else difficulty > difficulty.float().median()
    name = f"more than {top} {task.unit}" if task.grows else "the harder half"
    seeds = [each.seed for _, _, each in loaded]
    numbers = dict(task=flags.task, seeds=seeds, questions=len(hard), unit=task.unit, hard=name, rules={})
    print(f"\n{'rule':>8}  threshold (chosen on val)   easy: right, loops   hard: right, loops")
    for rule in ("fixed", *THRESHOLDS):
        settings = [key for key in test if key[0] == rule]
        best = max(val[key][0].float().mean() for key in settings)
        good = [key for key in settings if val[key][0].float().mean() >= best - 0.01]
        chosen = min(good, key=lambda key: val[key][1].float().mean())
        found = numbers["rules"][rule] = dict(settings=[key[1] for key in settings], chosen=chosen[1], by_difficulty=[])
        for kind, rows in (("easy", ~hard), ("hard", hard)):
            found[kind] = [test[key][:, rows].float().mean(1).tolist() for key in settings]  # [right, loops] of each
        for each in difficulty.unique().tolist():
            right, used = test[chosen][:, difficulty == each].float()
            quartiles = used.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
            found["by_difficulty"].append(dict(difficulty=each, right=right.mean().item(), quartiles=quartiles))
        ends = [
            f"{right:.3f} {used:>6.1f}" for right, used in (found[k][settings.index(chosen)] for k in ("easy", "hard"))
        ]
        print(f"{rule:>8}  {chosen[1]:>25}   {ends[0]:>18}   {ends[1]:>18}")
    write(folder, "compute", draw_compute(numbers), numbers)


def draw_compute(numbers):
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    styles = dict(fixed=(GREY, "-"), settle=(BLUE, "o-"), kl=(ORANGE, "s-"), entropy=(GREEN, "^-"))
    for rule, (color, style) in styles.items():
        found = numbers["rules"][rule]
        chosen = found["settings"].index(found["chosen"])
        for axis, kind in zip(axes, ("easy", "hard")):
            right, used = zip(*found[kind])
            axis.plot(used, right, style, color=color, ms=4, lw=1, label=rule)
            axis.plot(used[chosen], right[chosen], "*", color=color, ms=13, mec="k", mew=0.5)
        rows = found["by_difficulty"]
        low, middle, high = zip(*[row["quartiles"] for row in rows])
        axes[2].plot([row["difficulty"] for row in rows], middle, style, color=color, ms=4, label=rule)
        axes[2].fill_between([row["difficulty"] for row in rows], low, high, color=color, alpha=0.2, lw=0)
    axes[0].set_title("trained difficulties" if "more" in numbers["hard"] else "the easier half", size="medium")
    axes[1].set_title(numbers["hard"], size="medium")
    axes[2].set_title("loops used at the chosen threshold (quartiles)", size="medium")
    for axis in axes[:2]:
        axis.set(
            xlabel="mean loops used (star: chosen on val)", ylabel="accuracy (test)", ylim=(-0.03, 1.03), xscale="log"
        )
    axes[2].set(xlabel=f"difficulty ({numbers['unit']})", ylabel="loops")
    axes[0].legend(title="exit rule")
    spent = []
    for rule, found in numbers["rules"].items():
        right, used = found["hard"][found["settings"].index(found["chosen"])]
        spent.append(f"{rule} {right:.2f} in {used:.0f} loops")
    title = f"{numbers['task']}, {numbers['hard']}: {'; '.join(spent)}"
    seeds = len(numbers["seeds"])
    figure.suptitle(f"{title} ({seeds} seed{'s' * (seeds > 1)})")
    return figure


# -----------------------------------------------------------------------------
# think


def draw_text(axis, task, tokens, truth, predictions):
    """Sequences: a row for each loop, a column for each position, blue where the thought is right."""
    for x, token in enumerate(tokens):
        axis.text(x, -1, task.name(int(token)), ha="center", va="center", weight="bold")
        for y, prediction in enumerate(predictions):
            if truth[x] != IGNORE:
                back, front = (BLUE, "white") if prediction[x] == truth[x] else ("#eeeeee", GREY)
                axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=back, ec="white"))
                axis.text(x, y, task.name(int(prediction[x])), ha="center", va="center", color=front)
    axis.set(xlim=(-0.6, len(tokens) - 0.4), ylim=(len(predictions) - 0.5, -1.6), xticks=[], ylabel="loops")
    axis.set_yticks([-1, *range(len(predictions))], ["question", *range(1, len(predictions) + 1)], fontsize="small")
    axis.set_frame_on(False)


def draw_board(axis, task, tokens, truth, prediction):
    """A Sudoku board after some loops: givens black, the right digits of the model blue, its wrong ones orange."""
    n, (rows, columns) = task.n, map(int, task.box.split("x"))
    for cell, given in enumerate(tokens):
        style = dict(color=BLUE if prediction[cell] == truth[cell] else ORANGE)
        if given:
            style = dict(color="black", weight="bold")
        text = task.name(int(given or prediction[cell]))
        axis.text(cell % n, cell // n, text, ha="center", va="center", **style)
    for i in range(n + 1):
        axis.axhline(i - 0.5, color="k", lw=1.6 if i % rows == 0 else 0.3)
        axis.axvline(i - 0.5, color="k", lw=1.6 if i % columns == 0 else 0.3)
    axis.set(xlim=(-0.55, n - 0.45), ylim=(n - 0.45, -0.55), xticks=[], yticks=[], aspect="equal")
    axis.set_frame_on(False)


@torch.no_grad()
def think(runs, folder, args):
    """The first test question of each of three difficulties, after each loop: in the terminal and as a picture."""
    model, task, flags = load_model(runs[0], args.device)
    top, drawn, numbers = task.max_difficulty, [], []
    text = not isinstance(task, Sudoku)
    for difficulty in [max(1, top // 2), top, 2 * top] if task.grows else difficulties_of(task, "test", 1)[-3:]:
        batch = task.batch("test", 0, 1, difficulty)
        loops = difficulty + flags.lead + flags.slack if flags.sampler == "difficulty" else 2 * flags.loops
        loops = args.loops or (loops if flags.tied else flags.loops)
        predictions = [model.readout(h).argmax(-1) for h in model.states(batch.tokens, loops)][1:]
        right = [bool(task.check(batch, prediction)) for prediction in predictions]
        tokens, truth, predictions = batch.tokens[0].cpu(), task.truth(batch)[0].cpu(), torch.cat(predictions).cpu()
        settled = next((t for t in range(1, loops + 1) if all(right[t - 1 :])), None)
        title = f"{task.name_of(difficulty)}: " + (f"right from loop {settled}" if settled else "not solved")
        shown = [task.show(tokens, prediction) for prediction in predictions]
        drawn.append((title, tokens, truth, predictions))
        numbers.append(dict(difficulty=difficulty, question=task.show(tokens), after_loop=shown, right=right))
        print(f"\n{title}\n{task.show(tokens)}")
        for t, prediction in enumerate(predictions, 1):
            if text:
                thought = [task.name(int(p)) if y != IGNORE else " " for p, y in zip(prediction, truth)]
                print(f"  loop {t:>2}: {' '.join(thought)}{'   right' if right[t - 1] else ''}")
            elif t in (1, loops) or right[t - 1] != right[t - 2]:
                print(f"after loop {t}{', right' if right[t - 1] else ''}:\n{shown[t - 1]}")

    if text:
        heights, width = (
            [len(predictions) + 2 for *_, predictions in drawn],
            max(len(tokens) for _, tokens, *_ in drawn),
        )
        size = (max(6, 0.42 * width + 1), 0.27 * sum(heights) + 1.5)
        figure, axes = plt.subplots(len(drawn), figsize=size, height_ratios=heights, layout="constrained")
        for axis, (title, tokens, truth, predictions) in zip(axes, drawn):
            draw_text(axis, task, tokens, truth, predictions)
            axis.set_title(title)
    else:
        columns = [t for t in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if t <= len(drawn[0][-1])]
        size = (1.5 * len(columns), 1.9 * len(drawn))
        figure, axes = plt.subplots(len(drawn), len(columns), figsize=size, layout="constrained", squeeze=False)
        for row, (title, tokens, truth, predictions) in zip(axes, drawn):
            for axis, t in zip(row, columns):
                draw_board(axis, task, tokens, truth, predictions[t - 1])
                axis.set_title(f"loop {t}", fontsize="small")
            row[0].set_ylabel(title.replace(": ", "\n"))
    figure.suptitle(f"{flags.task}, trained to {task.name_of(top)}\nthe answer after each loop (blue: right)")
    write(folder, "think", figure, dict(task=flags.task, seeds=[flags.seed], examples=numbers))


# -----------------------------------------------------------------------------
# solve


@torch.no_grad()
def solve(runs, folder, args):
    """Every puzzle of a file once: the share of boards right after each loop, those that need search apart."""
    model, task, flags = load_model(runs[0], args.device)
    if not isinstance(task, Sudoku) or not args.file:
        fail("solve wants the run of a Sudoku model and --file PUZZLES")
    bank, loops = Sudoku(task.box, file=args.file).bank["test"], args.loops or 8 * flags.loops
    right = []  # (loops, part) of each part of the file
    for part in tqdm(bank["puzzle"].split(256), desc=f"solving {args.file}", leave=False):
        part = part.to(next(model.parameters()).device)
        batch = Batch(part, torch.full_like(part, IGNORE), None)
        states = model.states(part, loops)
        next(states)  # before the first loop
        right.append(torch.stack([task.check(batch, model.readout(h).argmax(-1)) for h in states]).cpu())
    right = torch.cat(right, dim=1).float()
    search = bank["difficulty"] == task.SEARCH
    kinds = {"solved by singles": ~search, "need search": search}
    numbers = dict(
        file=Path(args.file).name, seeds=[flags.seed], loops=list(range(1, loops + 1)), trained_loops=flags.loops
    )
    figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for (name, rows), color in zip(kinds.items(), (BLUE, ORANGE)):
        numbers[name] = dict(puzzles=int(rows.sum()), boards=right[:, rows].mean(1).tolist() if rows.any() else None)
        if rows.any():
            axis.plot(numbers["loops"], numbers[name]["boards"], color=color, label=f"{rows.sum()} puzzles, {name}")
            final = ", ".join(
                f"{numbers[name]['boards'][n - 1]:.3f} at {n}" for n in sorted({min(flags.loops, loops), loops})
            )
            print(f"{rows.sum()} puzzles, {name}: boards right {final} loops")
    axis.axvline(flags.loops, color="k", lw=0.8, ls="--")
    axis.set(xlabel="loops (dashed: training)", ylabel="boards right", ylim=(-0.03, 1.03), xscale="log")
    axis.legend()
    axis.set_title(f"{numbers['file']}: {right[-1].mean():.2f} of the boards right after {loops} loops (1 seed)")
    write(folder, "solve", figure, numbers)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = fail
    kinds = dict(
        depth=depth, compare=compare, compute=compute, think=think, phases=phases, fixedpoint=fixedpoint, stages=stages
    )
    kinds.update(stability=stability, solve=solve, cost=cost, cache=cache, bench=bench)
    parser.add_argument("what", choices=kinds)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders; most analyses take several (seeds)")
    parser.add_argument(
        "--loops", type=int, default=0, help="the most loops to try (default: several times those of training)"
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=500,
        help="questions of each difficulty (default 500; others than depth take a part of them)",
    )
    parser.add_argument(
        "--factor", type=float, default=6, help="hardest difficulty, in multiples of the trained (default 6)"
    )
    parser.add_argument("--steps", type=int, default=300, help="stability: training steps of each cell (default 300)")
    parser.add_argument("--file", default="", help="solve: one puzzle a line, digits with . or 0 for blanks")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default auto")
    args = parser.parse_args(argv)
    if args.loops < 0 or args.examples < 1 or args.steps < 1 or args.factor < 1:
        fail("--loops must not be negative, and --examples, --factor and --steps at least 1")
    if not args.runs and args.what not in ("stability", "bench"):
        fail(f"{args.what} wants the folder of a run")
    args.runs = args.runs or [Path("runs", args.what)]
    if len(args.runs) > 1 and args.what in ("think", "solve", "cost", "stability", "bench"):
        fail(f"{args.what} takes one folder, not {len(args.runs)}")
    args.device = find_device(args.device)
    kinds[args.what](args.runs, args.runs[0], args)


if __name__ == "__main__":
    run(main)
