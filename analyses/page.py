"""
A page that runs the models in a browser: ask your own question and drag the loops

One HTML file with the weights inside, which needs no network: page.html with page_loop.js (the
model, to be read like looped.py), page_tasks.js and page.js (what is seen). Several runs that
answer the same questions stand side by side, `page runs/demo runs/demo/control`. Without --out it
is page.html in the first run folder.
"""

import base64
import json
from pathlib import Path

from torch import nn

from analyses import exits
from analyses.common import add_loops, difficulties_of, kind_of, load, main_of
from looped import Attention, Block, Injection, LoopedGPT, Positions
from more_tasks.chains import Chains, EdgeEmbedding
from more_tasks.composition import Composition
from support.fast import FastAttention, FastRMSNorm
from tasks import Addition, MultiHop, Sudoku
from train import most_loops

MANY = True
HERE = Path(__file__).parent
FIELDS = {  # the part of the page in which a person writes the question
    MultiHop: "multihop",
    Composition: "multihop",
    Addition: "addition",
    Sudoku: "sudoku",
    Chains: "chains",
}
PARTS = (  # of a model that page_loop.js can run; the embedding may be an EdgeEmbedding, too
    *(LoopedGPT, Positions, Injection, Block, Attention, FastAttention),
    *(nn.Embedding, nn.ModuleList, nn.RMSNorm, FastRMSNorm, nn.Identity),
    *(nn.Sequential, nn.Linear, nn.GELU),
)
RULES = ("settle", "kl", "entropy")  # the exit rules that it has


def add_flags(parser):
    add_loops(parser, "the most loops of the slider (default 48)")
    text = "the file (default: page.html in the first run folder)"
    parser.add_argument("--out", type=Path, help=text)


# --------------------------------------------------------------------------------------------------
# What the page is told


def describe(run, model, task, flags):
    """A run as the page needs it; ValueError for one that page_loop.js cannot run."""
    refuse_others(run, model, task, flags)
    kind, pause = kind_of(flags), getattr(task, "pause", 0)
    weights = model.state_dict()
    packed = b"".join(weight.cpu().numpy().astype("<f4").tobytes() for weight in weights.values())
    parameters = sum(weight.numel() for weight in weights.values())
    trained = f"trained to {task.name_of(flags.level)}"
    most = f"with at most {most_loops(flags, task, flags.level)} loops"
    return dict(
        name=kind + (f", {pause} pauses" if pause else ""),
        about=f"{run.name}: {parameters:,} parameters, {trained} {most}",
        config=vars(model.config),
        setting=dict(pause=pause, digits=getattr(task, "digits", 0)),
        tensors={name: weight.numel() for name, weight in weights.items()},
        weights=base64.b64encode(packed).decode(),
    )


def refuse_others(run, model, task, flags):
    """page_loop.js is looped.py in JavaScript: it can run the parts of looped.py and no others."""
    if type(model) is not LoopedGPT:
        raise ValueError(f"{run}: page cannot run --model {flags.model}, which has code of its own")
    for name, part in model.named_modules():
        if type(part) not in PARTS and not isinstance(part, EdgeEmbedding):
            raise ValueError(f"{run}: page cannot run `{name}`, which is a {type(part).__name__}")
    if type(task) not in FIELDS:
        raise ValueError(f"{run}: page has no field for the questions of --task {flags.task}")
    if model.config.state_init == "noise":
        start = "--state_init noise, which starts elsewhere in each call"
        raise ValueError(f"{run}: page cannot run {start}")


def world_of(task):
    """What runs must share to be asked the same question."""
    names = [task.name(token) for token in range(task.vocab_size)]
    world = dict(task=FIELDS[type(task)], names=names)
    if isinstance(task, MultiHop):
        facts = task.facts.tolist()
        world.update(entities=task.entities, relations=task.relations, facts=facts)
    if isinstance(task, Sudoku):
        box = [task.boards.rows, task.boards.columns]
        world.update(n=task.n, box=box, coordinates=task.coordinates)
    if isinstance(task, Chains):
        world.update(names=names[: task.names + 1], chains=task.chains)
    return world


def text_of(task, tokens):
    """A question (T,) as a person types it into the page."""
    if isinstance(task, MultiHop):
        return " ".join(task.name(token) for token in tokens.tolist() if token != task.pad)
    if isinstance(task, Sudoku):
        return "".join(map(task.name, tokens.tolist()))
    return task.show(tokens).removesuffix("=")


def examples_of(task, most=60):
    """[[difficulty in words, [question, ..]], ..] of the test split, and which to begin with."""
    top, chosen = task.max_difficulty, difficulties_of(task, "test", 4)
    chosen = [difficulty for difficulty in chosen if difficulty <= max(most, top)]
    if len(chosen) > 9:  # as many beyond the trained ones as among them
        few = (1, top // 2)
        chosen = [difficulty for difficulty in chosen if difficulty in few or difficulty >= top]
    found = []
    for difficulty in chosen:
        tokens = task.batch("test", 0, 8, difficulty).tokens.cpu()
        texts = dict.fromkeys(text_of(task, row) for row in tokens)
        found.append([task.name_of(difficulty), list(texts)])
    start = max(i for i, difficulty in enumerate(chosen) if difficulty <= 2 * top)
    loops = chosen[start] + 4 if task.counts_steps else 12
    return dict(examples=found, start=start, loops=loops)


# --------------------------------------------------------------------------------------------------
# The page


def fill(about):
    """page.html with the scripts and the models in their places."""
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for name in ("page_loop.js", "page_tasks.js", "page.js"):
        page = page.replace(f"/* {name} */", (HERE / name).read_text(encoding="utf-8"))
    data = json.dumps(about).replace("<", "\\u003c")  # no name of a token may end the script
    return page.replace("/* models */", data)


def main(runs, args):
    loaded = [(run, *load(run, args.device)) for run in runs]
    models = [describe(*each) for each in loaded]
    worlds = [world_of(task) for _, _, task, _ in loaded]
    for run, world in zip(runs, worlds):
        if world != worlds[0]:
            pair = f"{runs[0]} and {run}"
            raise ValueError(f"{pair} do not answer the same questions: make a page of each")
    thresholds = {}
    for rule in RULES:
        _, thresholds[rule] = exits.RULES[rule]
    about = dict(models=models, world=worlds[0], rules=thresholds, most=args.loops or 48)
    about.update(examples_of(loaded[0][2]))
    about["loops"] = min(about["loops"], about["most"])
    path = args.out or runs[0] / "page.html"
    path.write_text(fill(about), encoding="utf-8")
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main_of("page")
