"""
The run folder: config.json, metrics.jsonl, checkpoint.pt and curve.png. What was damaged, cut short
or made by another program ends the program with one line.
"""

import argparse
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

from support.figures import in_style, plt, save_figure
from support.files import load_tensors, lock, save, unlock
from support.flags import (
    NOT_SAVED,
    allow,
    allowed,
    check_types,
    flag_fields,
    flag_groups,
    make_model,
    make_task,
    may_be_executed,
)
from support.processes import RANK, RANKS, fail

VERSION = 2  # of the checkpoints
PATHS = ("task", "model", "file", "banks")  # flags that can name a file or a folder
RUN_FILES = ("config.json", "checkpoint.pt", "metrics.jsonl")  # a folder with none is no run
# What a run has made before its config.json; with these alone, it can begin again.
FIRST_FILES = {"metrics.jsonl", "snapshots", "checkpoint.pt"}
FIRST_FILES |= {"checkpoint.pt.unfinished", "config.json.unfinished"}


def saved_flags(flags):
    return {name: value for name, value in vars(flags).items() if name not in NOT_SAVED}


def config_of(flags):
    """What config.json keeps: the flags, and from where their paths start."""
    saved = saved_flags(flags)
    try:
        saved["trained_in"] = os.path.relpath(os.getcwd(), Path(flags.out).resolve())
    except ValueError:  # another drive of Windows
        saved["trained_in"] = os.getcwd()
    return saved


def read_config(folder):
    path = folder / "config.json"
    try:
        config = {"model": "looped", **json.loads(path.read_text())}
        if not all(
            isinstance(config[name], kind)
            for name, kind in (("task", str), ("model", str), ("seed", int))
        ):
            raise TypeError
        find_paths(config, folder)
        return config
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except (ValueError, TypeError, KeyError) as error:
        fail(f"{path} is not a config of this program, or damaged ({type(error).__name__})")


def find_paths(config, folder):
    """
    Paths of a config start where the run was trained; now they start here. A path that is not there
    stays as it is. Code of one's own is executed only if the user has named it; a file of its name
    that the user has named takes the place of one that is not there any more.
    """
    start = config.pop("trained_in", None)
    for name in PATHS:
        value = config.get(name)
        is_code = name in ("task", "model")
        if not isinstance(value, str) or not value or (is_code and not value.endswith(".py")):
            continue
        there = Path(folder, start or "", value).resolve()
        if start is not None and there.exists() and not Path(value).is_absolute():
            value = config[name] = os.path.relpath(there)
        named = [path for path in allowed if path.name == Path(value).name and path.is_file()]
        if is_code and named and not Path(value).is_file():
            value = config[name] = os.path.relpath(named[-1])
        if is_code and Path(value).is_file() and not may_be_executed(value):
            fail(
                f"{folder} was made with {value}, and to load it executes that file: if you trust "
                f"it, add --{name} {value} (in Python, load_model(.., {name}={value!r}))"
            )


def load_run(folder, settings, device="cpu"):
    """
    The flags, task, model and checkpoint of a run folder; bad ones end the program with one line.
    """
    folder = Path(folder)
    config, path = read_config(folder), folder / "config.json"
    try:
        groups = flag_groups(config["task"], config["model"], settings)
        defaults = {
            field.name: field.default for cls in groups.values() for field, _ in flag_fields(cls)
        }
        defaults = {name: default for name, default in defaults.items() if name not in NOT_SAVED}
        flags = argparse.Namespace(**{**defaults, **config})  # a run may be older than a flag
        task = make_task(flags, device)
        path = folder / "checkpoint.pt"
        with warnings.catch_warnings():  # of foreign files; the lines below say enough
            warnings.simplefilter("ignore")
            checkpoint = load_tensors(path, device)
        if (version := checkpoint.get("version", 1)) != VERSION:
            fail(
                f"{path} is a checkpoint of version {version}; this program reads version {VERSION}"
            )
        check_types(flags, groups, folder / "config.json")
        path = folder / "config.json"
        model = make_model(flags, task).to(device)
        path = folder / "checkpoint.pt"
        its_config = checkpoint.get("config", {})  # older checkpoints do not name it
        for name in sorted(its_config.keys() - {"steps", "decay_steps", *PATHS}):
            if its_config[name] != config.get(name, its_config[name]):
                fail(f"{path} is not of the run in {folder}/config.json: its --{name} is another")
        for weights in (checkpoint["model"], checkpoint["ema"] or {}):
            if not all(each.isfinite().all() for each in weights.values()):
                fail(f"{path} has weights that are no numbers (nan or infinite)")
        model.load_state_dict(checkpoint["model"])
        for name in ("step", "level", "mastery", "optimizer"):
            checkpoint[name]
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except Exception as error:  # whatever a file that is cut short, damaged or foreign can raise
        kind, reason = path.stem, " ".join(str(error).split())[:200]
        if kind == "config" and isinstance(error, ValueError):  # of the task or the model
            fail(f"{path}: {reason}")
        if "size mismatch" in reason:
            fail(f"{path} does not fit the model and the task as they are now: {reason}")
        what = f"{path} is not a {kind} of this program, or damaged"
        fail(f"{what} ({type(error).__name__}: {reason})")
    return flags, task, model, checkpoint


def load_model(folder, settings, device="cpu", task="", model=""):
    """
    A trained run, ready to be asked: (model, task, flags). The averaged weights, where the run kept
    any. A run with a task or a model of one's own, elsewhere, is loaded if its file is named again.
    """
    allow(task, model)
    flags, task, model, checkpoint = load_run(folder, settings, device)
    if checkpoint["step"] < flags.steps:
        print(
            f"note: {folder} stopped at step {checkpoint['step']} of {flags.steps}", file=sys.stderr
        )
    flags.level = checkpoint["level"]  # the hardest difficulty that training has seen
    if flags.curriculum and flags.level < task.max_difficulty:
        print(
            f"note: {folder} was trained to difficulty {flags.level} of {task.max_difficulty}",
            file=sys.stderr,
        )
    model.load_state_dict(checkpoint["ema"] or checkpoint["model"])
    return model.eval(), task, flags


def resume(flags, given, settings):
    """
    Take over the flags of the run in the folder, unless those given by hand contradict them; its
    checkpoint. More --steps than the run has are added behind its end.
    """
    if RANK == 0 and Path(flags.out).is_dir():
        lock(flags.out)
    try:
        return take_over(flags, given, settings)
    except BaseException:
        unlock(flags.out)
        raise


def take_over(flags, given, settings):
    saved, _, _, checkpoint = load_run(flags.out, settings)
    more = "steps" in given and flags.steps > saved.steps
    if more:
        saved.decay_steps = saved.decay_steps or saved.steps
        saved.steps = flags.steps
    both = [(n, getattr(flags, n), getattr(saved, n, None)) for n in sorted(given - set(NOT_SAVED))]
    if wrong := [
        f"--{name} {mine} (there: {theirs})"
        for name, mine, theirs in both
        if mine != theirs and not (name in PATHS and same_file(mine, theirs))
    ]:
        fail(f"the run in {flags.out} has other flags than {', '.join(wrong)}")
    if getattr(saved, "ranks", 1) != RANKS:
        fail(f"the run in {flags.out} was made by {saved.ranks} processes, not by {RANKS}")
    vars(flags).update(vars(saved))
    if more and RANK == 0:
        save(Path(flags.out, "config.json"), json.dumps(config_of(flags), indent=1))
        end = f"{flags.lr * flags.min_lr:.3g}"
        text = f"from step {flags.decay_steps} to {flags.steps} the learning rate stays at {end}"
        print(f"{text}, where its cosine ends", file=sys.stderr)
    return checkpoint


def same_file(one, other):
    return Path(one).exists() and Path(other).exists() and os.path.samefile(one, other)


def other_flag(folder, wanted):
    """
    The first flag that the run in the folder has otherwise than `wanted`, if any; its loops
    training sets itself.
    """
    there = read_config(folder)
    other = (
        name
        for name, value in there.items()
        if name != "loops" and getattr(wanted, name, value) != value
    )
    return next(other, None)


def open_folder(flags):
    """
    Make or clear the run folder. config.json is written last, so a folder that has one can be
    resumed.
    """
    if RANK > 0:
        return
    folder = Path(flags.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_unused(folder):
            if not flags.overwrite:
                fail(
                    f"{folder} exists and is not empty: choose another --out, or --resume it, or "
                    "--overwrite it"
                )
            if not any((folder / name).exists() for name in RUN_FILES):
                fail(f"{folder} holds no run, so it is not overwritten: choose another --out")
        lock(folder)
        earlier = (*folder.glob("*.png"), *folder.glob("*.json"))
        # first what makes it a run
        for path in (folder / "config.json", folder / "checkpoint.pt", *earlier):
            path.unlink(missing_ok=True)
        if (folder / "control" / "config.json").exists():  # the control of another run
            lock(folder / "control")
            unlock(folder / "control")
            shutil.rmtree(folder / "control")
        (folder / "metrics.jsonl").write_text("")
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
        if flags.snapshots:
            (folder / "snapshots").mkdir()
    except OSError as error:
        unlock(folder)
        fail(f"cannot write to {folder}: {error.strerror}")


def is_unused(folder):
    """Is the folder empty, or was a run stopped there before its config.json was written?"""
    names, metrics = {path.name for path in folder.iterdir()}, folder / "metrics.jsonl"
    return not names or names <= FIRST_FILES and metrics.exists() and not metrics.stat().st_size


# --------------------------------------------------------------------------------------------------
# metrics.jsonl


def read_metrics(folder):
    """
    The rows of metrics.jsonl, {"step": .., "loss": .., "val": {difficulty: accuracy}, ..}. A last
    one that was cut in half is left out.
    """
    path, rows = Path(folder, "metrics.jsonl"), []
    text = path.read_text(errors="replace") if path.exists() else ""
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            row = json.loads(line)
            row["step"] + row["loss"] + sum(row["val"].values())  # as numbers
        except (ValueError, TypeError, KeyError, AttributeError):
            fail(f"{path} is damaged: its line {number} is no row of this program")
        rows.append(row)
    return rows


@in_style()
def draw_curve(folder, last=None):
    """
    curve.png: loss, and accuracy by difficulty, from metrics.jsonl; and a last row that does not
    stand there.
    """
    rows = read_metrics(folder)
    rows += [json.loads(json.dumps(last))] if last else []  # with the keys that JSON makes
    if not rows:
        return
    steps = [row["step"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(steps, [row["loss"] for row in rows], "k.-")
    left.set(xlabel="step", ylabel="training loss (nats)", yscale="log")
    difficulties = list(rows[-1]["val"])
    for i, difficulty in enumerate(difficulties):
        color = plt.cm.viridis(i / max(1, len(difficulties) - 1))
        right.plot(
            steps, [row["val"][difficulty] for row in rows], ".-", color=color, label=difficulty
        )
    right.set(xlabel="step", ylabel="accuracy (val split)", ylim=(-0.02, 1.02))
    right.legend(title="difficulty", fontsize="small")
    lowest = min(rows[-1]["val"].values())
    figure.suptitle(
        f"{folder}: the lowest accuracy of a trained difficulty is {lowest:.3f} after {steps[-1]} "
        "steps (1 seed)"
    )
    save_figure(figure, folder / "curve.png", dpi=120)
