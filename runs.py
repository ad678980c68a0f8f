"""
What guards a run: flags made from dataclasses, the run folder, checkpoints that survive a kill, resuming, Ctrl-C,
several processes, and refusals in one line. Nothing here is about loops; train.py can be read without it.
"""

import argparse
import importlib.util
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

import chains  # noqa: F401 (it registers its task and its model)
import sudoku  # noqa: F401 (it registers its task)
from checks import load_tensors
from fast import checkpoint_loops, compile_loop, speed_up
from figures import plt
from looped import MODELS, LoopedGPT
from tasks import IGNORE, TASKS, Batch, Task, stream

VERSION = 2  # of the checkpoints
RANK, RANKS = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # torchrun says so
FROM_TASK = ("vocab_size", "block_size", "causal", "coordinates")  # of the model's settings: the task knows them
LOWEST = dict(steps=1, batch=1, eval_every=1, eval_size=1)  # of any other number: 0
HIGHEST = dict(gate=1, min_lr=1, ema=0.99999, beta2=0.99999, threads=1024)


@dataclass
class RunFlags:
    task: str = "multihop"  # multihop | composition | phop | addition | sudoku | chains, or a Python file with a Task
    model: str = "looped"  # looped | edges, one of papers/, or a Python file with a subclass of LoopedGPT
    preset: str = ""  # a paper's settings on top of the recipe: kohli | saunshi | huginn | parcae | discoloop
    scale: Literal["cpu", "gpu"] = "cpu"  # which recipe the defaults come from
    out: str = ""  # the run folder (default runs/TASK)
    seed: int = 0  # of the weights, the data and the loop counts
    salt: str = ""  # another one has other worlds, splits and questions for every seed, as a course's hidden tests need
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # where to train
    threads: int = 0  # CPU threads (0: PyTorch decides)
    precision: Literal["float32", "bfloat16"] = "float32"  # of the products in training; weights stay float32
    compile: bool = False  # compile the loop, for long runs: takes half a minute; PyTorch 2.5, on a CPU a C++ compiler
    checkpoint_loops: int = 0  # keep a state every k loops and compute those between twice (Chen 2016); 0: keep all
    resume: bool = False  # continue the run in the folder
    overwrite: bool = False  # start over in a folder that is not empty
    minutes: float = 0.0  # save and stop after this long, to be resumed (0: no limit)
    control: bool = False  # beside it, train an untied control as deep as the most loops, in OUT/control
    bar: int = 0  # line of the progress bar


NOT_SAVED = ("resume", "overwrite", "minutes", "control", "bar", "threads", "out", "device")  # may differ on --resume


def fail(message, code=2):
    if RANK == 0:
        print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    raise SystemExit(code)


def run_main(main):
    """Call main; what the user can mend ends the program with one line and exit code 2, Ctrl-C with 130."""
    try:
        main()
    except (ValueError, OSError) as error:
        fail(error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        fail(f"not enough memory for these sizes ({(str(error).splitlines() or ['asked for too much'])[0]})")
    except KeyboardInterrupt:
        fail("interrupted", code=130)


# -----------------------------------------------------------------------------
# Flags


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def find_class(kind, name):
    """The task or model that a flag names: one that is registered, a paper's, or the only one of a Python file."""
    registry, base = (TASKS, Task) if kind == "task" else (MODELS, LoopedGPT)
    if name not in registry:
        path = Path(name) if name.endswith(".py") else Path(__file__).parent / "papers" / f"{name}.py"
        if not path.is_file():
            known = ", ".join((*registry, "one of papers/"))
            fail(f"--{kind} {name} is unknown; choose from {known}, or name a Python file that has one")
        registry[name] = only_subclass(path, base, kind)
    return registry[name]


def only_subclass(path, base, kind):
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # the file may import its neighbours
    spec = importlib.util.spec_from_file_location(f"{kind}_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever somebody's file can raise
        fail(f"{path} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}")
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, base)]
    found = [each for each in found if each.__module__ == spec.name]
    if len(found) != 1:
        fail(f"{path} defines {len(found)} subclasses of {base.__name__}; --{kind} wants one")
    return found[0]


@cache  # reading the source takes a tenth of a second
def flag_fields(cls):
    """The fields of a dataclass that are flags, and the comment behind each in the source."""
    comments = {}
    for parent in reversed(cls.__mro__[:-1]):
        comments.update(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(parent), re.M))
    hidden = (*FROM_TASK, "seed", "device", "salt") if cls is not RunFlags else ()
    return [(field, comments.get(field.name, "")) for field in fields(cls) if field.init and field.name not in hidden]


def flag_names(cls):
    return [field.name for field, _ in flag_fields(cls)]


def flag_groups(task, model, settings):
    """{title: dataclass} of all flags."""
    return {
        "the run": RunFlags,
        "training": settings,
        f"the task {task}": find_class("task", task),
        f"the model {model}": find_class("model", model).config_class,
    }


def parse_flags(argv, settings, recipes, presets, description):
    """All flags as a namespace, and the names of those given by hand. The comment of a field is its --help line."""
    first = Parser(add_help=False, allow_abbrev=False)
    for name in ("task", "preset", "scale", "out"):
        first.add_argument(f"--{name}", default=getattr(RunFlags, name))
    first.add_argument("--model")  # by default that of the recipe
    first.add_argument("--resume", action="store_true")
    known, _ = first.parse_known_args(argv)
    if known.model is None:
        known.model = recipes["cpu"].get(known.task, {}).get("model", RunFlags.model)
    if known.resume:
        saved = read_config(Path(known.out or f"runs/{Path(known.task).stem}"))
        vars(known).update({name: saved[name] for name in ("task", "model", "scale") if name in saved})
    if known.preset and known.preset not in presets:
        fail(f"--preset {known.preset} is unknown; choose from {', '.join(presets)}")
    groups = flag_groups(known.task, known.model, settings)
    recipe = dict(recipes["cpu"].get(known.task, {}))
    if known.scale == "gpu":
        recipe.update(recipes["gpu"].get(known.task, {}))
    recipe.update(presets.get(known.preset, {}))
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    defaults, owners = dict(task=known.task, model=known.model), {}
    for title, cls in groups.items():
        group = parser.add_argument_group(title)
        for field, comment in flag_fields(cls):
            if owners.setdefault(field.name, title) != title:
                fail(f"--{field.name} cannot be a flag of {title}: it is one of {owners[field.name]} already")
            default = defaults.setdefault(field.name, recipe.get(field.name, field.default))
            kind = dict(type=field.type, metavar=getattr(field.type, "__name__", "").upper())
            if field.type is bool:
                kind = dict(action=argparse.BooleanOptionalAction)
            if get_origin(field.type) is Literal:
                kind = dict(choices=get_args(field.type))
                comment = f"{' | '.join(get_args(field.type))}: {comment}"
            text = f"{comment} (default {default})".replace("%", "%%")
            group.add_argument(f"--{field.name}", default=argparse.SUPPRESS, help=text, **kind)
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        refuse_unknown(unknown, known)
    flags = argparse.Namespace(**{**defaults, **vars(given)})
    flags.out = flags.out or f"runs/{Path(flags.task).stem}"
    if flags.resume and flags.overwrite:
        fail("--resume continues a run and --overwrite starts it again: choose one")
    check_numbers(flags, groups)
    if not flags.resume:
        check_flags(flags, set(vars(given)))
    return flags, set(vars(given))


def refuse_unknown(unknown, known):
    """A flag that only another task or model has is told apart from one that nobody has."""
    for word in unknown:
        name = re.sub("^--(no-)?|=.*", "", word)
        for kind, registry in (("task", TASKS), ("model", MODELS)):
            mine = find_class(kind, getattr(known, kind))
            owners = [each for each in registry.values() if name in flag_names(getattr(each, "config_class", each))]
            if not word.startswith("--") or mine in owners:
                continue
            if owners and kind == "task":
                fail(f"--{name} has no meaning for --task {known.task}, which takes --{', --'.join(flag_names(mine))}")
            if owners:
                fail(f"--{name} has no meaning for --model {known.model}")
    fail(f"unrecognized arguments: {' '.join(unknown)}")


def check_numbers(flags, groups):
    for title, cls in groups.items():
        for field, _ in flag_fields(cls):
            name, value = field.name, getattr(flags, field.name)
            low = LOWEST.get(name, 0 if title in ("the run", "training") else -sys.maxsize)  # the others check theirs
            high = HIGHEST.get(name, sys.maxsize)
            if isinstance(value, (int, float)) and not low <= value <= high:
                most = f" and at most {high}" if name in HIGHEST or value > high else ""
                fail(f"--{name} must be a number of at least {low}{most}, not {value}")


def check_flags(flags, given):
    counted = flags.sampler in ("blind", "difficulty")
    if not find_class("task", flags.task).counts_steps and (flags.curriculum or counted):
        fail(
            f"the difficulty of --task {flags.task} is no count of loops: no --curriculum, no --sampler {flags.sampler}"
        )
    if counted and flags.tied and "loops" in given:
        fail(f"--loops does nothing with --sampler {flags.sampler}, which loops difficulty + --lead + 0..--slack times")
    if wrong := [name for name in ("lead", "slack") if name in given and not counted]:
        fail(f"--{wrong[0]} does nothing with --sampler {flags.sampler}; it belongs to --sampler blind and difficulty")
    if flags.loss == "every" and flags.per == "sequence" and flags.sampler != "fixed":
        fail("--loss every needs one loop count for the whole batch: add --per batch or --sampler fixed")
    if flags.checkpoint_loops and flags.backprop_loops:
        fail("--backprop_loops and --checkpoint_loops both save memory: choose one")
    if flags.checkpoint_loops and flags.loss == "every":
        fail("--loss every needs every state: leave out --checkpoint_loops")
    if flags.control and RANKS > 1:
        fail("--control is trained beside a single process; under torchrun, train it in a run of its own")


def find_device(name):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if (name == "cuda" and not torch.cuda.is_available()) or (name == "mps" and not torch.backends.mps.is_available()):
        fail(f"--device {name} was asked for, but PyTorch sees none here")
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and RANKS > 1 else name


def make_task(flags, device="cpu"):
    """The task of a run; ValueError for sizes that cannot work."""
    cls = find_class("task", flags.task)
    return cls(
        seed=flags.seed, device=device, salt=flags.salt, **{name: getattr(flags, name) for name in flag_names(cls)}
    )


def make_model(flags, task):
    """The untrained model of a run; ValueError for sizes that cannot work."""
    torch.manual_seed(stream(flags.seed, "weights"))
    cls = find_class("model", flags.model)
    chosen = {name: getattr(flags, name) for name in flag_names(cls.config_class)}
    chosen.update(vocab_size=task.vocab_size, block_size=task.block_size, causal=task.causal)
    return speed_up(cls(cls.config_class(**chosen, coordinates=task.coordinates if flags.position == "grid" else ())))


# -----------------------------------------------------------------------------
# The run folder


def save(path, content):
    """Write a checkpoint or a text so that at every moment there is a whole file, the old one or the new."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(content.encode()) if isinstance(content, str) else torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        fail(f"could not write {path} ({error}); what was there before is unharmed", code=1)


def read_config(folder):
    path = folder / "config.json"
    try:
        config = {"model": "looped", **json.loads(path.read_text())}
        if not all(isinstance(config[name], kind) for name, kind in (("task", str), ("model", str), ("seed", int))):
            raise TypeError
        return config
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except (ValueError, TypeError, KeyError) as error:
        fail(f"{path} is not a config of this program, or damaged ({type(error).__name__})")


def check_types(flags, groups, path):
    """A value that no flag can have ends the program; someone may have edited the file."""
    kinds = {int: int, float: (int, float), str: str, bool: bool}
    for cls in groups.values():
        for field, _ in flag_fields(cls):
            value, kind = getattr(flags, field.name, field.default), field.type
            if get_origin(kind) is Literal:
                fits = value in get_args(kind)
            else:
                fits = isinstance(value, kinds.get(kind, object))
            if not fits:
                fail(f"{path}: {field.name} cannot be {value!r}")


def load_run(folder, settings, device="cpu"):
    """The flags, task, model and checkpoint of a run folder; bad ones end the program with one line."""
    folder = Path(folder)
    config, path = read_config(folder), folder / "config.json"
    try:
        groups = flag_groups(config["task"], config["model"], settings)
        defaults = {field.name: field.default for cls in groups.values() for field, _ in flag_fields(cls)}
        defaults = {name: default for name, default in defaults.items() if name not in NOT_SAVED}
        flags = argparse.Namespace(**{**defaults, **config})  # a run may be older than a flag
        task = make_task(flags, device)
        path = folder / "checkpoint.pt"
        with warnings.catch_warnings():  # of what foreign files may hold; the line below says enough
            warnings.simplefilter("ignore")
            checkpoint = load_tensors(path, device)
        if (version := checkpoint.get("version", 1)) != VERSION:
            fail(f"{path} is a checkpoint of version {version}; this program reads version {VERSION}")
        check_types(flags, groups, folder / "config.json")
        model = make_model(flags, task).to(device)
        model.load_state_dict(checkpoint["model"])
        checkpoint["step"], checkpoint["level"], checkpoint["mastery"], checkpoint["optimizer"], checkpoint["ema"]
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except Exception as error:  # whatever a file that is cut short, damaged or foreign can raise
        kind = "config" if path.name == "config.json" else "checkpoint"
        fail(f"{path} is not a {kind} of this program, or damaged ({type(error).__name__})")
    return flags, task, model, checkpoint


def load_model(folder, settings, device="cpu"):
    """A trained run, ready to be asked: (model, task, flags). The averaged weights, where the run kept any."""
    flags, task, model, checkpoint = load_run(folder, settings, device)
    if checkpoint["step"] < flags.steps:
        print(f"note: {folder} stopped at step {checkpoint['step']} of {flags.steps}", file=sys.stderr)
    flags.level = checkpoint["level"]  # the hardest difficulty that training has seen
    if flags.level < task.max_difficulty:
        print(f"note: {folder} was trained to difficulty {flags.level} of {task.max_difficulty}", file=sys.stderr)
    model.load_state_dict(checkpoint["ema"] or checkpoint["model"])
    return model.eval(), task, flags


def resume(flags, given, settings):
    """Take over the flags of the run in the folder, unless those given by hand contradict them; its checkpoint."""
    saved, _, _, checkpoint = load_run(flags.out, settings)
    both = [(n, getattr(flags, n), getattr(saved, n, None)) for n in sorted(given - set(NOT_SAVED))]
    if wrong := [f"--{name} {mine} (there: {theirs})" for name, mine, theirs in both if mine != theirs]:
        fail(f"the run in {flags.out} has other flags than {', '.join(wrong)}")
    if getattr(saved, "ranks", 1) != RANKS:
        fail(f"the run in {flags.out} was made by {saved.ranks} processes, not by {RANKS}")
    vars(flags).update(vars(saved))
    return checkpoint


def other_flag(folder, wanted):
    """The first flag that the run in the folder has otherwise than `wanted`, if any; its loops training sets itself."""
    there = json.loads((folder / "config.json").read_text())
    other = (name for name, value in there.items() if name != "loops" and getattr(wanted, name, value) != value)
    return next(other, None)


def open_folder(flags):
    """Make or clear the run folder. config.json is written last, so a folder that has one can be resumed."""
    if RANK > 0:
        return
    folder = Path(flags.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not flags.overwrite:
            fail(f"{folder} exists and is not empty: choose another --out, or --resume it, or --overwrite it")
        earlier = (*folder.glob("*.png"), *folder.glob("*.json"))
        for path in (folder / "config.json", folder / "checkpoint.pt", *earlier):  # first what makes it a run
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
    """curve.png: loss, and accuracy by difficulty, from metrics.jsonl; and a last row that does not stand there."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows += [json.loads(json.dumps(last))] if last else []  # with the keys that JSON makes
    steps = [row["step"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(steps, [row["loss"] for row in rows], "k.-")
    left.set(xlabel="step", ylabel="training loss (nats)", yscale="log")
    difficulties = list(rows[-1]["val"])
    for i, difficulty in enumerate(difficulties):
        color = plt.cm.viridis(i / max(1, len(difficulties) - 1))
        right.plot(steps, [row["val"][difficulty] for row in rows], ".-", color=color, label=difficulty)
    right.set(xlabel="step", ylabel="accuracy (val split)", ylim=(-0.02, 1.02))
    right.legend(title="difficulty", fontsize="small")
    lowest = min(rows[-1]["val"].values())
    figure.suptitle(f"{folder}: at least {lowest:.2f} on every trained difficulty after {steps[-1]} steps (1 seed)")
    figure.savefig(folder / "curve.png", dpi=120)
    plt.close(figure)


# -----------------------------------------------------------------------------
# A run while it lasts


class Run:
    """
    One training run: its folder, its bar, when it is saved and when it stops. `parts` are the model, the optimizer and
    the average of the weights or None, {name: ..}; `progress` (step, level, mastery) is saved beside them.
    """

    def __init__(self, flags, parts, progress, checkpoint=None):
        self.flags, self.parts, self.progress = flags, parts, progress
        self.folder, self.began, self.stopped = Path(flags.out), time.time(), []
        self.time_is_up = False  # after --minutes
        self.results = {}  # of the last evaluation; none if a run is resumed that had ended
        self.unsaved_row = None  # of an evaluation that only --minutes brought about
        self.device = next(parts["model"].parameters()).device.type
        if checkpoint:
            for name, part in parts.items():
                if part:
                    part.load_state_dict(checkpoint[name])
            progress.update({name: checkpoint[name] for name in progress})
            if RANK == 0:
                self.forget_after(progress["step"])
        elif RANK == 0:
            self.save()
            saved = {name: value for name, value in vars(flags).items() if name not in NOT_SAVED}
            save(self.folder / "config.json", json.dumps(saved, indent=1))
        shown = dict(total=flags.steps, initial=progress["step"], position=flags.bar, desc=self.folder.name)
        self.bar = tqdm(**shown, mininterval=0.5, disable=RANK > 0)

    def save(self):
        if RANK == 0:
            state = {name: part.state_dict() if part else None for name, part in self.parts.items()}
            save(self.folder / "checkpoint.pt", dict(version=VERSION, **self.progress, **state))

    def forget_after(self, step):
        """Drop the lines that a run wrote after its last checkpoint, and a last one that was cut in half."""
        metrics = self.folder / "metrics.jsonl"
        lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
        save(metrics, "".join(line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step))

    def steps(self):
        """The steps to do, until the last, --minutes, Ctrl-C or SIGTERM (a step is finished; asked twice, it stops)."""

        def finish_step_and_stop(number, _):
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped.append("interrupted")

        handlers = {each: signal.signal(each, finish_step_and_stop) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            for step in range(self.progress["step"], self.flags.steps):
                if self.flags.minutes and RANK == 0 and time.time() - self.began > 60 * self.flags.minutes:
                    self.time_is_up = True  # so this step is the last
                    self.stopped.append(f"stopped after {self.flags.minutes} minutes")
                yield step
                stop = self.others_stop if RANKS > 1 else self.stopped  # ranks stop together, at the next step
                if stop and step + 1 < self.flags.steps:
                    self.save()
                    break
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.bar.close()

    def show(self, **now):
        """The bar moves on by a step."""
        postfix = "loss {loss:.3f}, right {right:.2f}, {loops:.1f} loops, difficulty to {level}"
        self.bar.set_postfix_str(postfix.format(**now), refresh=False)
        self.bar.update()

    def log(self, model, results, regular=True, **row):
        """
        An evaluation: a line of metrics.jsonl, the weights that were judged (with --snapshots), a checkpoint. One that
        is not regular is only told and drawn: a resumed run shall leave the same lines as one that never stopped.
        """
        self.results = results
        if not regular:
            self.unsaved_row = {**row, **results}
        if RANK > 0 or not regular:
            return
        with open(self.folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({**row, **results}) + "\n")
        if self.flags.snapshots:
            save(self.folder / "snapshots" / f"{row['step']:06d}.pt", model.state_dict())
        self.save()

    def explode(self, loss, gradient, size):
        """End the run because its loss is no number any more."""
        self.bar.close()
        what = f"the loss is {loss}, its gradient {gradient} and the size of a state {size:.3g}"
        good = f"the last good checkpoint is {self.folder}/checkpoint.pt"
        step = self.progress["step"]
        fail(f"{what} at step {step}; {good}. Try a lower --lr or --clip, or another --norm", code=1)

    def close(self, max_difficulty):
        """The last evaluation, {split: {difficulty: accuracy}}, told and drawn; None if the run was interrupted."""
        flags, done, level = self.flags, self.progress["step"], self.progress["level"]
        if RANK > 0:
            return None
        if done == flags.steps or self.time_is_up:
            draw_curve(self.folder, self.unsaved_row)
            minutes = (time.time() - self.began) / 60
            size = sum(p.numel() for p in self.parts["model"].parameters())
            print(f"{self.folder}: {done} steps in {minutes:.1f} minutes on {self.device}, {size:,} parameters")
            for split, result in self.results.items():
                accuracies = "  ".join(f"{difficulty}: {accuracy:.3f}" for difficulty, accuracy in result.items())
                print(f"accuracy by difficulty ({split} split): {accuracies}")
            if level < max_difficulty:
                print(f"the curriculum opened difficulty {level} of {max_difficulty}: no harder question was trained")
        if done < flags.steps:
            again = f"python train.py --out {self.folder} --resume{' --control' if flags.control else ''}"
            print(f"{(self.stopped or ['interrupted'])[0]} at step {done}; continue with: {again}")
        return self.results if done == flags.steps or self.time_is_up else None

    # ---- one of several processes; a process alone has all of everything

    def share(self, batch, loops):
        """This process's part of a batch and its loop counts; the weight of its loss in the mean over all."""
        asked = (batch.targets != IGNORE).sum().clamp(min=1)
        batch, loops = Batch(*(part[RANK::RANKS] for part in batch)), loops[RANK::RANKS]
        torch.manual_seed(stream(self.flags.seed, "noise", self.progress["step"]) + RANK)  # for state_init="noise"
        return batch, loops, RANKS * (batch.targets != IGNORE).sum() / asked  # gradients of the ranks are averaged

    def total(self, *numbers):
        """Sums over all processes, as floats, in one transfer."""
        numbers = [torch.as_tensor(each, device=numbers[0].device).float() for each in (*numbers, len(self.stopped))]
        numbers = torch.stack(numbers)
        if RANKS > 1:
            dist.all_reduce(numbers)
        *numbers, self.others_stop = numbers.tolist()
        return numbers


class LossModule(torch.nn.Module):
    """model.loss as the forward pass of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *arguments):
        return self.model.loss(*arguments)


def loss_function(flags, model):
    """model.loss, in the precision of the run; several processes average their gradients."""
    loss = model.loss
    if RANKS > 1:
        loss = DistributedDataParallel(LossModule(model), find_unused_parameters=not flags.tied)
    rough = flags.precision == "bfloat16"
    keep_casts = not flags.backprop_loops  # PyTorch 2.4 would go on using a cast made without a gradient

    def in_precision(tokens, targets, loops):
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=rough, cache_enabled=keep_casts):
            return loss(tokens, targets, loops)

    return in_precision


def prepare(flags):
    """Threads and processes; the device of the run."""
    if flags.control and not flags.threads:
        flags.threads = max(1, (os.cpu_count() or 2) // 2)
    if flags.threads:
        torch.set_num_threads(flags.threads)
    device = find_device(flags.device)
    if RANKS > 1:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    flags.ranks = RANKS
    return device


def save_time_and_memory(flags, model):
    if flags.compile:
        compile_loop(model)
    if flags.checkpoint_loops:
        checkpoint_loops(model, flags.checkpoint_loops)


@contextmanager
def control_beside(flags, most_loops):
    """
    With --control: the untied control, trained beside the run in a process of its own, on the same data. It has as many
    distinct layers as the run's most loops, all of them always used, and pre-norm, which suits it better
    (results/LOG.md). The `with` gives a list; an entry in it says that the run has ended well.
    """
    if not flags.control:
        yield []
        return
    folder, ended_well = Path(flags.out, "control"), []
    control = {**vars(flags), "tied": False, "sampler": "fixed", "loops": most_loops, "norm": "pre"}
    control.update(backprop_loops=0, checkpoint_loops=0, out=str(folder), control=False, bar=1, overwrite=False)
    control.update(resume=flags.resume and (folder / "checkpoint.pt").exists())
    argv = [sys.executable, str(Path(__file__).with_name("train.py"))]
    for name, value in control.items():
        if name not in ("ranks", "lead", "slack"):
            argv += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    process = subprocess.Popen(argv)
    try:
        yield ended_well
    finally:
        if not ended_well:
            process.terminate()  # it saves and leaves, too (on Windows it only leaves)
        code = process.wait()
    if code:
        raise SystemExit(code)
