"""
A page that runs the trained models in a browser: ask a question of your own and drag the loops

One HTML file with the weights inside, which needs no network: page.html with page_loop.js (the model, to be read like
looped.py), page_tasks.js and page.js (what is seen). Several runs that answer the same questions stand side by side,
`page runs/demo runs/demo/control`. Without --out it is page.html in the first run folder.
"""

import base64
import json
from pathlib import Path

from analyses.common import add_loops, difficulties_of, kind_of, main_of
from chains import Chains, EdgeGPT
from looped import EXIT_RULES, LoopedGPT
from sudoku import Sudoku
from tasks import Addition, Composition, MultiHop
from train import load_model, most_loops

MANY = True
HERE = Path(__file__).parent
FIELDS = {MultiHop: "multihop", Composition: "multihop", Addition: "addition", Sudoku: "sudoku", Chains: "chains"}


def add_flags(parser):
    add_loops(parser, "the most loops of the slider (default 48)")
    parser.add_argument("--out", type=Path, help="the file (default: page.html in the first run folder)")


# -----------------------------------------------------------------------------
# What the page is told


def describe(run, model, task, flags):
    """A run as the page needs it; ValueError for one that page_loop.js cannot run."""
    if type(model) not in (LoopedGPT, EdgeGPT):
        raise ValueError(f"{run}: page cannot run --model {flags.model}, which has code of its own")
    if type(task) not in FIELDS:
        raise ValueError(f"{run}: page has no field for the questions of --task {flags.task}")
    if model.config.state_init == "noise":
        raise ValueError(f"{run}: page cannot run --state_init noise, which starts elsewhere in each call")
    kind, pause = kind_of(flags), getattr(task, "pause", 0)
    weights = model.state_dict()
    packed = b"".join(weight.cpu().numpy().astype("<f4").tobytes() for weight in weights.values())
    parameters = sum(weight.numel() for weight in weights.values())
    return dict(
        name=kind + (f", {pause} pauses" if pause else ""),
        about=f"{run.name}: {parameters:,} parameters, trained to {task.name_of(flags.level)} "
        f"with at most {most_loops(flags, task, flags.level)} loops",
        config=vars(model.config),
        setting=dict(pause=pause, digits=getattr(task, "digits", 0)),
        tensors={name: weight.numel() for name, weight in weights.items()},
        weights=base64.b64encode(packed).decode(),
    )


def world_of(task):
    """What runs must share to be asked the same question."""
    world = dict(task=FIELDS[type(task)], names=[task.name(token) for token in range(task.vocab_size)])
    if isinstance(task, MultiHop):
        world.update(entities=task.entities, relations=task.relations, facts=task.facts.tolist())
    if isinstance(task, Sudoku):
        world.update(n=task.n, box=[*map(int, task.box.split("x"))], coordinates=task.coordinates)
    if isinstance(task, Chains):
        world.update(names=world["names"][: task.names + 1], chains=task.chains)
    return world


def text_of(task, tokens):
    """A question (T,) as a person types it into the page."""
    if isinstance(task, MultiHop):
        return " ".join(task.name(token) for token in tokens.tolist() if token != task.pad)
    if isinstance(task, Sudoku):
        return "".join(map(task.name, tokens.tolist()))
    return task.show(tokens).removesuffix("=")


def examples_of(task, most=60):
    """[[difficulty in words, [question, ..]], ..] of the test split, and which of them to begin with."""
    top, chosen = task.max_difficulty, difficulties_of(task, "test", 4)
    chosen = [difficulty for difficulty in chosen if difficulty <= max(most, top)]
    if len(chosen) > 9:  # as many beyond the trained ones as among them
        chosen = [difficulty for difficulty in chosen if difficulty in (1, top // 2) or difficulty >= top]
    found = []
    for difficulty in chosen:
        tokens = task.batch("test", 0, 8, difficulty).tokens.cpu()
        texts = dict.fromkeys(text_of(task, row) for row in tokens)
        found.append([task.name_of(difficulty), list(texts)])
    start = max(i for i, difficulty in enumerate(chosen) if difficulty <= 2 * top)
    return dict(examples=found, start=start, loops=chosen[start] + 4 if task.counts_steps else 12)


# -----------------------------------------------------------------------------
# The page


def fill(about):
    """page.html with the scripts and the models in their places."""
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for name in ("page_loop.js", "page_tasks.js", "page.js"):
        page = page.replace(f"/* {name} */", (HERE / name).read_text(encoding="utf-8"))
    return page.replace("/* models */", json.dumps(about).replace("<", "\\u003c"))  # no name may end the script


def main(runs, args):
    loaded = [(run, *load_model(run, args.device)) for run in runs]
    models = [describe(*each) for each in loaded]
    worlds = [world_of(task) for _, _, task, _ in loaded]
    for run, world in zip(runs, worlds):
        if world != worlds[0]:
            raise ValueError(f"{runs[0]} and {run} do not answer the same questions: make a page of each")
    rules = {name: threshold for name, (_, threshold) in EXIT_RULES.items() if name != "fixed"}
    about = dict(models=models, world=worlds[0], rules=rules, most=args.loops or 48, **examples_of(loaded[0][2]))
    about["loops"] = min(about["loops"], about["most"])
    path = args.out or runs[0] / "page.html"
    path.write_text(fill(about), encoding="utf-8")
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main_of("page")
