"""
What the analyses share: their command line, and which runs may be looked at together.

An analysis is a module analyses/NAME.py; the first line of its docstring is its line in the table of analyze.py.

    MANY = True                  # takes several runs, the seeds of one experiment; False: one
    NEEDS_RUN = False            # only where no run is looked at; the pictures then go to runs/NAME
    def add_flags(parser): ...   # add_loops(parser, help), add_examples(parser), .. and flags of its own
    def main(runs, args): ...    # measure, draw, say: writes NAME.png and NAME.json into runs[0]
"""

import argparse
import importlib
from pathlib import Path

from runs import Parser, fail, find_device, run_main
from train import load_model

# -----------------------------------------------------------------------------
# The command line


def at_least(low, kind=int):
    """The type of a flag that takes numbers from `low` on."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not value >= low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, not {text}")
        return value

    return convert


def add_loops(parser, help="the most loops to try (default: several times those of training)"):
    parser.add_argument("--loops", type=at_least(0), default=0, help=help)


def add_examples(parser, help="questions of each difficulty (default 500)"):
    parser.add_argument("--examples", type=at_least(1), default=500, help=help)


def add_factor(parser, help="hardest difficulty, in multiples of the hardest in training (default 6)"):
    parser.add_argument("--factor", type=at_least(1, float), default=6, help=help)


def add_steps(parser, help="training steps of each cell (default 300)"):
    parser.add_argument("--steps", type=at_least(1), default=300, help=help)


def parse(name, argv=None):
    """The module of an analysis, its run folders and its flags."""
    module = importlib.import_module(f"analyses.{name}")
    parser = Parser(
        prog=f"analyze.py {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    needs_run = getattr(module, "NEEDS_RUN", True)
    text = "run folders, the seeds of one experiment" if module.MANY else "a run folder"
    if not needs_run:
        text = f"the folder for the picture (default runs/{name})"
    parser.add_argument("runs", nargs="*", type=Path, metavar="FOLDER", help=text)
    module.add_flags(parser)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default auto")
    for flag, add in dict(loops=add_loops, examples=add_examples, factor=add_factor, steps=add_steps).items():
        if parser.get_default(flag) is None:  # every analysis takes these; --help shows those that it uses
            add(parser, help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args(argv)
    if not args.runs and needs_run:
        fail(f"{name} wants the folder of a run")
    args.runs = args.runs or [Path("runs", name)]
    if len(args.runs) > 1 and not module.MANY:
        fail(f"{name} takes one folder, not {len(args.runs)}")
    args.device = find_device(args.device)
    return module, args


def main_of(name, argv=None):
    """Run one analysis from the command line: `python -m analyses.NAME RUN..`, `python analyze.py NAME RUN..`."""

    def main():
        module, args = parse(name, argv)
        module.main(args.runs, args)

    run_main(main)


# -----------------------------------------------------------------------------
# Runs


def check_seeds(all_flags):
    """Runs may be put together if they differ in their seed and in nothing else."""
    seeds = [flags.seed for flags in all_flags]
    if len({str(sorted({**vars(flags), "seed": 0, "level": 0}.items())) for flags in all_flags}) > 1:
        fail("these runs differ in more than their seed")
    if len(set(seeds)) < len(seeds):
        fail("two of these runs have the same seed")


def load_seeds(runs, device):
    """[(model, task, flags)] of runs that may be put together."""
    loaded = [load_model(run, device) for run in runs]
    check_seeds([flags for _, _, flags in loaded])
    return loaded


def load_looped(runs, device):
    """The same, of runs that loop."""
    loaded = [load_model(run, device) for run in runs]
    for run, (_, _, flags) in zip(runs, loaded):
        if not flags.tied:
            fail(f"{run} is an untied run: it has no loop to look at")
    check_seeds([flags for _, _, flags in loaded])
    return loaded


def kind_of(flags):
    """What a run trained, in words."""
    layers = f"{flags.n_core * flags.loops} layers, each used once"
    kind = "looped" if flags.tied else layers
    if flags.tied and flags.sampler == "fixed":
        kind = f"looped, always {flags.loops}" if flags.loops > 1 else f"{flags.n_core} layer, used once"
    return kind + (", re-embedding" if flags.reembed else "")


def difficulties_of(task, split, factor):
    """
    The difficulties to ask: every trained one, then wider steps up to `factor` times the hardest; where a task has
    none beyond (puzzles), those that it has.
    """
    top = task.max_difficulty
    if task.grows:
        beyond = {round(top * x) for x in (4 / 3, 5 / 3, 2, 2.5, 3, 4, 5, 6, 7, 8) if x <= factor}
        return sorted({*range(1, top + 1), *(difficulty for difficulty in beyond if difficulty <= task.hardest)})
    return task.difficulties(split)
