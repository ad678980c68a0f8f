"""
The run folder: config.json, metrics.jsonl, checkpoint.pt and curve.png. What was damaged, cut short
or made by another program ends the program with one line.
"""

import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path

from support.figures import plt
from support.files import load_tensors
from support.flags import NOT_SAVED, check_types, flag_fields, flag_groups, make_model, make_task
from support.processes import RANK, RANKS, fail

VERSION = 2  # of the checkpoints


def read_config(folder):
    path = folder / "config.json"
    try:
        config = {"model": "looped", **json.loads(path.read_text())}
        if config["model"] == "edges":  # an older name; chains now brings its own embedding
            config["model"] = "looped"
        if not all(
            isinstance(config[name], kind)
            for name, kind in (("task", str), ("model", str), ("seed", int))
        ):
            raise TypeError
        return config
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except (ValueError, TypeError, KeyError) as error:
        fail(f"{path} is not a config of this program, or damaged ({type(error).__name__})")


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
        model = make_model(flags, task).to(device)
        model.load_state_dict(checkpoint["model"])
        (
            checkpoint["step"],
            checkpoint["level"],
            checkpoint["mastery"],
            checkpoint["optimizer"],
            checkpoint["ema"],
        )
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except Exception as error:  # whatever a file that is cut short, damaged or foreign can raise
        kind = "config" if path.name == "config.json" else "checkpoint"
        fail(f"{path} is not a {kind} of this program, or damaged ({type(error).__name__})")
    return flags, task, model, checkpoint


def load_model(folder, settings, device="cpu"):
    """
    A trained run, ready to be asked: (model, task, flags). The averaged weights, where the run kept
    any.
    """
    flags, task, model, checkpoint = load_run(folder, settings, device)
    if checkpoint["step"] < flags.steps:
        print(
            f"note: {folder} stopped at step {checkpoint['step']} of {flags.steps}", file=sys.stderr
        )
    flags.level = checkpoint["level"]  # the hardest difficulty that training has seen
    if flags.level < task.max_difficulty:
        print(
            f"note: {folder} was trained to difficulty {flags.level} of {task.max_difficulty}",
            file=sys.stderr,
        )
    model.load_state_dict(checkpoint["ema"] or checkpoint["model"])
    return model.eval(), task, flags


def resume(flags, given, settings):
    """
    Take over the flags of the run in the folder, unless those given by hand contradict them; its
    checkpoint.
    """
    saved, _, _, checkpoint = load_run(flags.out, settings)
    both = [(n, getattr(flags, n), getattr(saved, n, None)) for n in sorted(given - set(NOT_SAVED))]
    if wrong := [
        f"--{name} {mine} (there: {theirs})" for name, mine, theirs in both if mine != theirs
    ]:
        fail(f"the run in {flags.out} has other flags than {', '.join(wrong)}")
    if getattr(saved, "ranks", 1) != RANKS:
        fail(f"the run in {flags.out} was made by {saved.ranks} processes, not by {RANKS}")
    vars(flags).update(vars(saved))
    return checkpoint


def other_flag(folder, wanted):
    """
    The first flag that the run in the folder has otherwise than `wanted`, if any; its loops
    training sets itself.
    """
    there = json.loads((folder / "config.json").read_text())
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
        if any(folder.iterdir()) and not flags.overwrite:
            fail(
                f"{folder} exists and is not empty: choose another --out, or --resume it, or "
                "--overwrite it"
            )
        earlier = (*folder.glob("*.png"), *folder.glob("*.json"))
        # first what makes it a run
        for path in (folder / "config.json", folder / "checkpoint.pt", *earlier):
            path.unlink(missing_ok=True)
        if (folder / "control" / "config.json").exists():  # the control of another run
            shutil.rmtree(folder / "control")
        (folder / "metrics.jsonl").write_text("")
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
        if flags.snapshots:
            (folder / "snapshots").mkdir()
    except OSError as error:
        fail(f"cannot write to {folder}: {error.strerror}")


def draw_curve(folder, last=None):
    """
    curve.png: loss, and accuracy by difficulty, from metrics.jsonl; and a last row that does not
    stand there.
    """
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows += [json.loads(json.dumps(last))] if last else []  # with the keys that JSON makes
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
        f"{folder}: at least {lowest:.2f} on every trained difficulty after {steps[-1]} steps (1 "
        "seed)"
    )
    figure.savefig(folder / "curve.png", dpi=120)
    plt.close(figure)
