"""
Flags from dataclasses: RunFlags below, Settings in train.py, the fields of the task and the Config
of the model. The comment behind a field is its line in --help.
"""

import argparse
import importlib.util
import inspect
import re
import sys
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

import torch
from torch import nn

from looped import LoopedGPT
from support.fast import checkpoint_loops, compile_loop, speed_up
from support.hashing import stream
from support.processes import RANKS, fail
from support.recipes import GPU_RECIPES, PRESETS, recipe_of
from tasks import TASKS, Task

ROOT = Path(__file__).parents[1]
OUR_TASKS = [*TASKS, *sorted(path.stem for path in (ROOT / "more_tasks").glob("[!_]*.py"))]
TASK_FOLDERS = ("more_tasks", "papers", "claims")  # beside tasks.py
FROM_TASK = ("vocab_size", "causal", "coordinates")  # settings of a model that the task knows
FROM_RUN = ("seed", "device", "salt")  # fields of a task that belong to the run
LOWEST = dict(steps=1, batch=1, eval_every=1, eval_size=1)  # of any other number of a run: 0
HIGHEST = dict(gate=0.999, min_lr=1, ema=0.99999, beta2=0.99999, threads=1024)
NOT_SAVED = (
    "resume",
    "overwrite",
    "minutes",
    "control",
    "threads",
    "out",
    "device",
)  # may differ on --resume


@dataclass
class RunFlags:
    task: str = "multihop"  # of tasks.py or more_tasks/, or a Python file with a Task
    model: str = "looped"  # looped, one of papers/, or a Python file with a model (see README.md)
    preset: str = ""  # settings of a paper: kohli | saunshi | huginn | parcae | discoloop
    scale: Literal["cpu", "gpu"] = "cpu"  # which recipe of the task the defaults come from
    out: str = ""  # the run folder (default runs/TASK)
    seed: int = 0  # of the weights, the data and the loop counts
    salt: str = ""  # another salt gives other worlds, splits and questions, for a course's tests
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # where to train
    threads: int = 0  # CPU threads (0: PyTorch decides)
    precision: Literal["float32", "bfloat16"] = "float32"  # of products; weights stay float32
    compile: bool = False  # compile the loop: half a minute; PyTorch 2.5, on a CPU a C++ compiler
    checkpoint_loops: int = 0  # keep every k-th state, compute the others twice (Chen 2016)
    resume: bool = False  # continue the run in the folder; more --steps come behind its end
    overwrite: bool = False  # start over in a folder that is not empty
    minutes: float = 0.0  # save and stop after this long, to be resumed (0: no limit)
    control: bool = False  # train an untied stack, as deep as the most loops, in OUT/control


# --------------------------------------------------------------------------------------------------
# The task and the model that a flag names

allowed = []  # files that the user has named, so they may be executed; the latest is the last


def allow(*names):
    allowed.extend(Path(name).resolve() for name in names)


def may_be_executed(name):
    """
    A file that a config names may have come with it, from somebody else. Files of this repository
    may be executed, but not those of a run folder, or of runs/, where such folders are put.
    """
    path, ours = Path(name).resolve(), ROOT.resolve()
    in_a_run = any((folder / "config.json").exists() for folder in path.parents)
    in_a_run = in_a_run or path.is_relative_to(ours / "runs")
    return path in allowed or path.is_relative_to(ours) and not in_a_run


def is_task(value):
    return isinstance(value, type) and issubclass(value, Task)


def is_model(value):
    return (
        isinstance(value, type) and issubclass(value, nn.Module) and hasattr(value, "config_class")
    )


@cache
def find_task(name):
    """The task that --task names: one of tasks.py or of TASK_FOLDERS, or the only one of a file."""
    return TASKS.get(name) or only_class("task", name, TASK_FOLDERS, is_task, OUR_TASKS)


@cache
def find_model(name):
    """The model that --model names: LoopedGPT, one of papers/, or the only one of a file."""
    return (
        LoopedGPT
        if name == "looped"
        else only_class("model", name, ("papers",), is_model, ["looped"])
    )


def only_class(kind, name, folders, fits, known):
    paths = [ROOT / folder / f"{name}.py" for folder in folders if name.isidentifier()]
    if name.endswith(".py"):
        paths = [Path(name)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        places = " or ".join(f"{folder}/" for folder in folders)
        fail(
            f"--{kind} {name} is unknown; choose from {', '.join(known)}, one of {places}, or name "
            "a Python file"
        )
    module = load_file(path, kind)
    own = [
        value
        for value in vars(module).values()
        if fits(value) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        base = "subclasses of Task" if kind == "task" else "models (nn.Modules with a config_class)"
        fail(f"{path} defines {len(own)} {base}; --{kind} wants one")
    cls = own[0] if kind == "task" else own[0].config_class
    if not is_dataclass(cls):
        fail(f"{path}: {cls.__name__} must be a dataclass; its fields become flags")
    if inspect.get_annotations(cls) and "__dataclass_fields__" not in vars(cls):
        fail(
            f"{path}: {cls.__name__} has fields but no @dataclass above it, so they would be no "
            "flags"
        )
    return own[0]


def load_file(path, kind):
    if path.parent in [ROOT / folder for folder in TASK_FOLDERS]:
        return importlib.import_module(f"{path.parent.name}.{path.stem}")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # the file may import its neighbours
    spec = importlib.util.spec_from_file_location(f"{kind}_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever somebody's file can raise
        fail(f"{path} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}")
    return module


def make_task(flags, device="cpu"):
    """The task of a run; ValueError for sizes that cannot work."""
    cls = find_task(flags.task)
    chosen = {name: getattr(flags, name) for name in flag_names(cls)}
    task = cls(seed=flags.seed, device=device, salt=flags.salt, **chosen)
    if task.counts_steps and task.max_difficulty < 1:
        raise ValueError(f"max_difficulty of --task {flags.task} is {task.max_difficulty}, below 1")
    return task


def make_model(flags, task):
    """
    The untrained model of a run, with its faster twins; ValueError for sizes that cannot work.
    """
    torch.manual_seed(stream(flags.seed, "weights"))
    cls = find_model(flags.model)
    chosen = {name: getattr(flags, name) for name in flag_names(cls.config_class)}
    for field in fields(cls.config_class):
        if field.name in FROM_TASK:
            chosen[field.name] = getattr(task, field.name)
    if getattr(flags, "position", None) != "grid":
        chosen.pop("coordinates", None)
    model = cls(cls.config_class(**chosen))
    if type(task).embedding is not Task.embedding:
        if not hasattr(model, "embed") or not hasattr(flags, "n_embd"):
            fail(
                f"--task {flags.task} brings an embedding that replaces model.embed, and --model "
                f"{flags.model} has no such thing, or no n_embd"
            )
        model.embed = task.embedding(flags)
    return speed_up(model)


def save_time_and_memory(flags, model):
    if flags.compile:
        compile_loop(model)
    if flags.checkpoint_loops:
        checkpoint_loops(model, flags.checkpoint_loops)


# --------------------------------------------------------------------------------------------------
# Flags


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


@cache  # reading the source takes a tenth of a second
def flag_fields(cls):
    """The fields of a dataclass that are flags, and the comment behind each in the source."""
    comments = {}
    for parent in reversed(cls.__mro__[:-1]):
        if parent is not nn.Module:
            comments.update(
                re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(parent), re.M)
            )
    hidden = () if cls is RunFlags else (*FROM_TASK, *FROM_RUN)
    return [
        (field, comments.get(field.name, ""))
        for field in fields(cls)
        if field.init and field.name not in hidden
    ]


def flag_names(cls):
    return [field.name for field, _ in flag_fields(cls)]


def flag_groups(task, model, settings):
    """{title: dataclass} of all flags."""
    return {
        "the run": RunFlags,
        "training": settings,
        f"the task {task}": find_task(task),
        f"the model {model}": find_model(model).config_class,
    }


def parse_flags(argv, settings, description, saved_config):
    """
    All flags as a namespace, and the names of those given by hand. Which flags there are depends on
    the task and the model, and their defaults on the recipe, so those are looked at first; a run
    that is resumed names them in its config, saved_config(folder).
    """
    first = Parser(add_help=False, allow_abbrev=False)
    for name in ("task", "model", "preset", "scale", "out"):
        first.add_argument(f"--{name}", default=getattr(RunFlags, name))
    first.add_argument("--resume", action="store_true")
    known, _ = first.parse_known_args(argv)
    allow(known.task, known.model)
    if known.resume:
        saved = saved_config(Path(known.out or f"runs/{Path(known.task).stem}"))
        vars(known).update(
            {name: saved[name] for name in ("task", "model", "scale") if name in saved}
        )
    if known.preset and known.preset not in PRESETS:
        fail(f"--preset {known.preset} is unknown; choose from {', '.join(PRESETS)}")
    if known.model == "looped":
        known.model = PRESETS.get(known.preset, {}).get("model", "looped")
    groups = flag_groups(known.task, known.model, settings)
    recipe = recipe_of(known.task, known.scale, known.preset)
    parser = Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    defaults, owners = dict(task=known.task, model=known.model), {}
    for title, cls in groups.items():
        group = parser.add_argument_group(title)
        for field, comment in flag_fields(cls):
            if owners.setdefault(field.name, title) != title:
                fail(
                    f"--{field.name} cannot be a flag of {title}: it is one of "
                    f"{owners[field.name]} already"
                )
            default = defaults.setdefault(field.name, recipe.get(field.name, field.default))
            add_flag(group, field, comment, default)
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        refuse_unknown(unknown, known)
    flags = argparse.Namespace(**{**defaults, **vars(given)})
    flags.out = flags.out or f"runs/{Path(flags.task).stem}"
    check_numbers(flags, groups)
    check_flags(flags, set(vars(given)))
    return flags, set(vars(given))


def add_flag(group, field, comment, default):
    kind = dict(type=field.type, metavar=getattr(field.type, "__name__", "").upper())
    if field.type is bool:
        kind = dict(action=argparse.BooleanOptionalAction)
    if get_origin(field.type) is Literal:
        kind = dict(choices=get_args(field.type))
        comment = f"{' | '.join(get_args(field.type))}: {comment}"
    text = f"{comment} (default {default})".replace("%", "%%")
    group.add_argument(f"--{field.name}", default=argparse.SUPPRESS, help=text, **kind)


# --------------------------------------------------------------------------------------------------
# Refusals


def refuse_unknown(unknown, known):
    """A flag that only another task or model has is told apart from one that nobody has."""
    for word in unknown:
        name = re.sub("^--(no-)?|=.*", "", word)
        if word.startswith("--") and any(name in flag_names(find_task(task)) for task in OUR_TASKS):
            its = ", --".join(flag_names(find_task(known.task)))
            fail(f"--{name} has no meaning for --task {known.task}, which takes --{its}")
        if word.startswith("--") and name in flag_names(LoopedGPT.config_class):
            fail(f"--{name} has no meaning for --model {known.model}")
    fail(f"unrecognized arguments: {' '.join(unknown)}")


def check_numbers(flags, groups):
    for title, cls in groups.items():
        for field, _ in flag_fields(cls):
            name, value = field.name, getattr(flags, field.name)
            ours = title in ("the run", "training")  # the task and the model check theirs
            low = LOWEST.get(name, 0 if ours else -sys.maxsize)
            high = HIGHEST.get(name, sys.maxsize)
            if isinstance(value, (int, float)) and not low <= value <= high:
                most = f" and at most {high}" if name in HIGHEST or value > high else ""
                fail(f"--{name} must be a number of at least {low}{most}, not {value}")


def check_flags(flags, given):
    """Flags that contradict each other. Each refusal names what to do instead."""
    if flags.resume and flags.overwrite:
        fail("--resume continues a run and --overwrite starts it again: choose one")
    if flags.resume:
        return  # the flags of the run were checked when it began
    if flags.scale == "gpu" and flags.task not in GPU_RECIPES:
        fail(
            f"--scale gpu does nothing with --task {flags.task}; there are recipes for a GPU of "
            f"{', '.join(GPU_RECIPES)}"
        )
    counted = flags.sampler in ("blind", "difficulty")
    tied = getattr(flags, "tied", True)
    if not find_task(flags.task).counts_steps and (flags.curriculum or counted):
        needed = ["--no-curriculum"] * flags.curriculum
        needed += ["a --sampler other than blind and difficulty, such as fixed"] * counted
        fail(
            f"the difficulty of --task {flags.task} is no count of loops: it needs "
            f"{' and '.join(needed)}"
        )
    if counted and tied and "loops" in given:
        fail(
            f"--loops does nothing with --sampler {flags.sampler}, which loops difficulty + "
            "--lead + 0..--slack times"
        )
    if wrong := [name for name in ("lead", "slack") if name in given and not counted]:
        fail(
            f"--{wrong[0]} does nothing with --sampler {flags.sampler}; it belongs to --sampler "
            "blind and difficulty"
        )
    if flags.checkpoint_loops and getattr(flags, "backprop_loops", 0):
        fail("--backprop_loops and --checkpoint_loops both save memory: choose one")
    if flags.checkpoint_loops and getattr(flags, "loss", "") == "every":
        fail("--loss every needs every state: leave out --checkpoint_loops")
    if flags.control and not hasattr(flags, "tied"):
        fail(f"--control trains a model with --no-tied, and --model {flags.model} has no such flag")
    if flags.control and RANKS > 1:
        fail(
            "--control is trained beside a single process; under torchrun, train it in a run of "
            "its own"
        )


def check_types(flags, groups, path):
    """A saved value that no flag can have ends the program; someone may have edited the file."""
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
