"""
What the analyses share: their command line, and the runs they look at.

An analysis is a module analyses/NAME.py with the names below. (Only depth and think are in
analyze.py.) The first line of its docstring is its line in the table of analyze.py.

    MANY = True                  # it takes several runs, the seeds of one experiment; False: one
    NEEDS_RUN = False            # only if it looks at no run; its pictures then go to runs/NAME
    def add_flags(parser): ...   # add_loops(parser, help), add_examples(parser), .. and its own
    def main(runs, args): ...    # measure, draw, say: writes NAME.png and NAME.json into runs[0]
"""

import argparse
import importlib
import inspect
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.figures import in_style
from support.flags import Parser, allow
from support.processes import fail, find_device
from train import load_model

SOLVED = 0.9  # the accuracy from which on a difficulty counts as solved
MULTIPLES = (4 / 3, 5 / 3, 2, 2.5, 3, 4, 5, 6, 7, 8)  # of the hardest in training: what is asked


# --------------------------------------------------------------------------------------------------
# The command line


@dataclass
class Analysis:
    """What the command line has to know of an analysis."""

    name: str
    main: Callable  # main(runs, args)
    add_flags: Callable  # add_flags(parser)
    text: str  # what --help says
    many: bool  # does it take several runs?
    needs_run: bool = True


def find_analysis(name):
    """The one in analyses/NAME.py."""
    module = importlib.import_module(f"analyses.{name}")
    needs_run = getattr(module, "NEEDS_RUN", True)
    text = inspect.getdoc(module)
    return Analysis(name, module.main, module.add_flags, text, module.MANY, needs_run)


@in_style()
def run_analysis(analysis, argv=None):
    args = parse(analysis, argv)
    analysis.main(args.runs, args)


def parse(analysis, argv=None):
    """The run folders and the flags of an analysis."""
    parser = Parser(
        prog=f"analyze.py {analysis.name}",
        description=analysis.text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = "run folders, the seeds of one experiment" if analysis.many else "a run folder"
    if not analysis.needs_run:
        text = f"the folder for the picture (default runs/{analysis.name})"
    parser.add_argument("runs", nargs="*", type=Path, metavar="FOLDER", help=text)
    analysis.add_flags(parser)
    for kind in ("task", "model"):
        text = f"the file of the run's {kind}, if it is one of your own that may be executed"
        parser.add_argument(f"--{kind}", default="", metavar="FILE.py", help=text)
    devices = ("auto", "cpu", "cuda", "mps")
    parser.add_argument("--device", default="auto", choices=devices, help="default auto")
    # every analysis takes these four flags; --help shows those that it uses
    for add in (add_loops, add_examples, add_factor, add_steps):
        if parser.get_default(add.__name__.removeprefix("add_")) is None:
            add(parser, help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args(argv)
    if not args.runs and analysis.needs_run:
        fail(f"{analysis.name} wants the folder of a run")
    args.runs = args.runs or [Path("runs", analysis.name)]
    if len(args.runs) > 1 and not analysis.many:
        fail(f"{analysis.name} takes one folder, not {len(args.runs)}")
    first, only_a_file = args.runs[0], analysis.name == "page" and args.out
    if first.is_dir() and not os.access(first, os.W_OK) and not only_a_file:
        fail(f"cannot write a picture into {first}: copy the folder to where you can")
    allow(args.task, args.model)
    args.device = find_device(args.device)
    return args


def at_least(low, kind=int, most=math.inf):
    """The type of a flag that takes numbers from `low` on, up to `most`."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not low <= value <= most:
            bound = f"at most {most}" if value > most else f"at least {low}"
            raise argparse.ArgumentTypeError(f"must be {bound}, not {text}")
        return value

    return convert


def add_loops(parser, help="the most loops to try (default: several times those of training)"):
    parser.add_argument("--loops", type=at_least(0), default=0, help=help)


def add_examples(parser, help="questions of each difficulty (default 500)"):
    parser.add_argument("--examples", type=at_least(1), default=500, help=help)


def add_factor(
    parser,
    help="the hardest difficulty, in multiples of that in training, at most "
    f"{MULTIPLES[-1]} (default 6)",
):
    parser.add_argument("--factor", type=at_least(1, float, MULTIPLES[-1]), default=6, help=help)


def add_steps(parser, help="training steps of each cell (default 300)"):
    parser.add_argument("--steps", type=at_least(1), default=300, help=help)


# --------------------------------------------------------------------------------------------------
# Runs


def load(run, device, needs=()):
    """
    (model, task, flags) of a run. `needs` are the names of what an analysis asks of a model beside
    `forward` and `loss`; a model of your own may lack them.
    """
    model, task, flags = load_model(run, device)
    flags.tied = getattr(flags, "tied", True)  # a model without this flag has no untied form
    refuse_without(run, model, needs)
    return model, task, flags


def refuse_without(run, model, needs):
    for name in needs:
        if not hasattr(model, name):
            kind = type(model).__name__
            fail(f"{run}: this analysis asks a model for `{name}`, and {kind} has none")


def load_seeds(runs, device, needs=()):
    """[(model, task, flags)] of runs that may be put together."""
    loaded = [load(run, device, needs) for run in runs]
    check_seeds([flags for _, _, flags in loaded])
    return loaded


def load_looped(runs, device, needs=()):
    """The same, of runs that loop."""
    loaded = [load(run, device, needs) for run in runs]
    for run, (_, _, flags) in zip(runs, loaded):
        if not flags.tied:
            fail(f"{run} is an untied run: it has no loop to look at")
    check_seeds([flags for _, _, flags in loaded])
    return loaded


def check_seeds(all_flags):
    """Runs may be put together if they differ in their seed and in nothing else."""
    seeds = [flags.seed for flags in all_flags]
    others = [sorted({**vars(flags), "seed": 0, "level": 0}.items()) for flags in all_flags]
    if any(str(other) != str(others[0]) for other in others):
        fail("these runs differ in more than their seed")
    if len(set(seeds)) < len(seeds):
        fail("two of these runs have the same seed")


def kind_of(flags):
    """What a run trained, in words, as legends and titles call it."""
    kind = Path(flags.model).stem  # "looped", or the name of a file
    layers = getattr(flags, "n_core", 1)
    if not flags.tied:
        kind = f"{layers * flags.loops} layers, each used once"
    elif flags.sampler == "fixed" and flags.loops > 1:
        kind += f", always {flags.loops}"
    elif flags.sampler == "fixed":
        kind = f"{layers} layer{'s' if layers > 1 else ''}, used once"
    return kind + (", re-embedding" if getattr(flags, "reembed", False) else "")


def difficulties_of(task, split, factor):
    """
    The difficulties to ask: every trained one, then wider steps up to `factor` times the hardest.
    A task that cannot make harder questions (puzzles) has only those of the split.
    """
    if not task.grows:
        return task.difficulties(split)
    top = task.max_difficulty
    beyond = {round(top * multiple) for multiple in MULTIPLES if multiple <= factor}
    within = set(range(1, top + 1))
    return sorted(within | {difficulty for difficulty in beyond if difficulty <= task.hardest})
