"""
A page that runs the models in a browser: ask your own question and drag the loops

One HTML file with the weights inside, which needs no network: page.html with page_loop.js (the
model, to be read like looped.py), page_tasks.js (the tasks), page_watch.js (what can be watched in
a model), page_draw.js (pictures), page.js and page_more.js (what a person does). Several runs that
answer the same questions stand side by side, `page runs/demo runs/demo/control`. Without --out it
is page.html in the first run folder.

A page of multi-hop begins with a guided tour. --boards RUN adds Sudoku boards that are solved from
several starts, and --grokking RUN what a run of composition could do at each of its snapshots.
"""

import base64
import json
from pathlib import Path

import torch
from torch import nn

from analyses import exits
from analyses.common import add_loops, difficulties_of, kind_of, load
from looped import Attention, Block, Injection, LoopedGPT, Positions
from more_tasks.chains import Chains, EdgeEmbedding
from more_tasks.composition import Composition
from support.boards import HARDEST, SEARCH
from support.fast import FastAttention, FastRMSNorm
from support.files import load_tensors
from tasks import Addition, MultiHop, Sudoku
from train import most_loops, trained_loops

MANY = True
HERE = Path(__file__).parent
FIELDS = {  # the part of the page in which a person writes the question
    MultiHop: "multihop",
    Composition: "multihop",
    Addition: "addition",
    Sudoku: "sudoku",
    Chains: "chains",
}
STEPS = ("__init__", "begin", "loop", "core_of", "readout", "head", "reembed", "proper_state")
PARTS = (  # of a model that page_loop.js can run; the embedding may be an EdgeEmbedding, too
    *(Positions, Injection, Block, Attention, FastAttention),
    *(nn.Embedding, nn.ModuleList, nn.RMSNorm, FastRMSNorm, nn.Identity),
    *(nn.Sequential, nn.Linear, nn.GELU),
)
KINDS = {  # split of composition: what its questions are
    "train": "trained",
    "val": "held out",
    "alone": "facts seen alone",
}
SCRIPTS = [
    f"page{part}.js" for part in ("_loop", "_tasks", "_watch", "_train", "_draw", "_more", "")
]
RULES = ("settle", "kl", "entropy")  # the exit rules that it has


def add_flags(parser):
    add_loops(parser, "the most loops of the slider (default 48)")
    text = "the file (default: page.html in the first run folder)"
    parser.add_argument("--out", type=Path, help=text)
    text = "a run of sudoku, whose boards are added to the page"
    parser.add_argument("--boards", type=Path, help=text)
    text = "a run of composition with snapshots, whose training is added to the page"
    parser.add_argument("--grokking", type=Path, help=text)


# --------------------------------------------------------------------------------------------------
# What the page is told


def describe(run, model, task, flags):
    """A run as the page needs it; ValueError for one that page_loop.js cannot run."""
    refuse_others(run, model, task, flags)
    kind, pause = kind_of(flags), getattr(task, "pause", 0)
    weights = model.state_dict()
    packed = b"".join(weight.cpu().numpy().astype("<f4").tobytes() for weight in weights.values())
    parameters = sum(weight.numel() for weight in weights.values())
    trained = f"trained to {task.name_of(flags.level)}" if task.counts_steps else "trained"
    if flags.tied:
        trained += f" with at most {most_loops(flags, task, flags.level)} loops"
    return dict(
        name=kind + (f", {pause} pauses" if pause else ""),
        about=f"{run.name}: {parameters:,} parameters, {trained}",
        config=vars(model.config),
        setting=dict(pause=pause, digits=getattr(task, "digits", 0)),
        tensors={name: weight.numel() for name, weight in weights.items()},
        weights=base64.b64encode(packed).decode(),
    )


def refuse_others(run, model, task, flags):
    """
    page_loop.js is looped.py in JavaScript: it can run the parts of looped.py and no others. A
    model may have a loss of its own.
    """
    for name in STEPS:
        if getattr(type(model), name, None) is not getattr(LoopedGPT, name):
            text = f"page cannot run --model {flags.model}, which has code of its own"
            raise ValueError(f"{run}: {text}")
    for name, part in model.named_modules():
        if part is not model and type(part) not in PARTS and not isinstance(part, EdgeEmbedding):
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
# The tour


@torch.no_grad()
def tour_of(model, task, flags, most):
    """
    The question, the loops, the exit rule and the chosen token of each stop, and the words of its
    texts; None and no words for a task other than multi-hop.
    """
    if type(task) is not MultiHop or task.pause or not model.config.tied:
        return None, {}
    top, trained = task.max_difficulty, most_loops(flags, task, task.max_difficulty)
    half = max(1, top // 2)

    def stop(hops, loops, rule="fixed", question=None, token=None):
        if question is None:
            question = task.batch("test", 0, 1, hops).tokens[0]
        text, level = text_of(task, question), task.name_of(hops)
        return dict(question=text, level=level, loops=min(loops, most), rule=rule, token=token)

    short = find_plain(model, task, half)
    hurt = dict(loops=half + 2, token=half)  # a token whose answer is there, in the middle
    long = task.batch("test", 0, 1, 2 * top).tokens
    hurt_other = model.readout(model.think(long, hurt["loops"]))[0, half].topk(2).indices[1]
    wrong, asked, often = find_wrong(model, task, most)
    stops = {
        "1": stop(half, 3, question=short),
        "2": stop(half, 1, question=short),
        "3": stop(top, trained),
        "4": stop(2 * top, trained),
        "5": stop(2 * top, most, "settle"),
        "6": stop(2 * top, 2 * top + 4),
        "7": stop(2 * top, **hurt),
        "explore": stop(2 * top, 2 * top + 4),
    }
    if wrong is not None:
        stops["6"] = stop(int(task.measure(wrong[None])), most, "settle", wrong)
    layers = ("no", "one", "two", "three", "four")
    words = dict(
        entities=task.entities,
        first=task.name(0),
        last=task.name(task.entities - 1),
        relations=task.relations,
        facts=task.entities * task.relations,
        width=model.config.n_embd,
        layers=dict(enumerate(layers)).get(model.config.n_core, model.config.n_core),
        heads=model.config.n_head,
        hops=task.name_of(top),
        loops=trained,
        harder=task.name_of(2 * top),
        twice=task.name_of(4 * top),
        wrong="" if wrong is None else stops["6"]["level"],
        none_wrong=wrong is None,
        asked=f"{asked:,}",
        often=f"{often:,}",
        hurt_token=half + 1,  # people count tokens from 1
        hurt_loop=hurt["loops"],
        hurt_other=task.name(hurt_other.item()),
        healed=2 * top + 6,  # the walk takes about 2 * top loops, and the damage costs a few
    )
    return stops, words


@torch.no_grad()
def find_plain(model, task, hops):
    """
    A test question (T,) whose walk comes to no place twice, and which the model answers after as
    many loops as it has hops and not before; the first question if there is none.
    """
    batch = task.batch("test", 0, 500, hops)
    places = task.walk(batch.tokens)[:, : hops + 1]
    other = [len(set(row)) == hops + 1 for row in places.tolist()]
    states = model.trajectory(batch.tokens, hops)[1:]
    right = torch.stack([task.check(batch, model.readout(h).argmax(-1)) for h in states])
    plain = torch.tensor(other, device=right.device) & right[-1] & ~right[:-1].any(0)
    return batch.tokens[plain.int().argmax()]


@torch.no_grad()
def find_wrong(model, task, most):
    """
    A test question (T,) of the fewest hops at which the model comes to rest with a wrong answer, or
    None; how many questions were asked; and in how many the model rested with a wrong answer.
    """
    first, asked, often = None, 0, 0
    for hops in difficulties_of(task, "test", 6):
        if hops >= most:  # there would be no loops left in which to come to rest
            break
        batch = task.batch("test", 0, 500, hops)
        logits, loops = model.solve(batch.tokens, max_loops=most)
        wrong = ~task.check(batch, logits.argmax(-1)) & (loops < most)
        asked, often = asked + len(wrong), often + int(wrong.sum())
        if first is None and wrong.any():
            first = batch.tokens[wrong][0]
    return first, asked, often


# --------------------------------------------------------------------------------------------------
# Boards from several starts, and grokking


@torch.no_grad()
def boards_of(run, device, most=64):
    """
    A model of Sudoku, and some of its test boards: those that are solved from its own start, those
    that are solved from one noise only, and those that are not.
    """
    model, task, flags = load(run, device)
    if not isinstance(task, Sudoku):
        raise ValueError(f"{run}: --boards wants a run of sudoku")
    about = describe(run, model, task, flags)
    found = {}
    for kind, level in {"needs search": (SEARCH, HARDEST), "singles": None}.items():
        if level and not task.search:
            continue
        batch = task.batch("test", 0, 40, level)
        right = solved_after(model, task, batch, most)
        torch.manual_seed(0)
        noise = torch.randn_like(model.begin(batch.tokens)[0])
        also = solved_after(model, task, batch, most, noise)
        ends = {"solved from noise only": ~right & also, "solved": right, "hard": ~right & ~also}
        for end, rows in ends.items():
            for tokens in batch.tokens[rows][:2]:
                found.setdefault(f"{kind}, {end}", []).append(text_of(task, tokens))
    return dict(model=about, world=world_of(task), examples=list(found.items()), most=most)


def solved_after(model, task, batch, loops, start=None):
    """(B,) bool: is each board right?"""
    prediction = model.readout(model.think(batch.tokens, loops, h=start)).argmax(-1)
    return task.check(batch, prediction)


@torch.no_grad()
def grokking_of(run, device):
    """
    What a run could do at each snapshot: the accuracy on compositions that were trained, held out
    (ID) and of facts seen alone (OOD); and of one question of each, what is read at its relations
    after each loop.
    """
    model, task, flags = load(run, device)
    if not isinstance(task, Composition):
        raise ValueError(f"{run}: --grokking wants a run of composition")
    paths = sorted((run / "snapshots").glob("*.pt"))
    if not paths:
        raise ValueError(f"{run} has no snapshots")
    loops = trained_loops(flags, task)["largest"]
    batches = {split: task.batch(split, 0, len(task.listed[split, 2]), 2) for split in KINDS}
    curves = {name: [] for name in KINDS.values()}
    questions = []
    for split, name in KINDS.items():
        tokens = batches[split].tokens[0]
        truth = task.walk(tokens[None])[0, 1:].tolist()
        question = dict(kind=name, question=task.show(tokens), truth=truth, read=[])
        questions.append((tokens, question))
    for path in paths:
        model.load_state_dict(load_tensors(path, device))
        for split, name in KINDS.items():
            right = solved_after(model, task, batches[split], loops).float().mean().item()
            curves[name].append(round(right, 3))
        for tokens, question in questions:
            states = model.trajectory(tokens[None], loops)[1:]
            read = [model.readout(h).argmax(-1)[0, 1:].tolist() for h in states]
            question["read"].append(read)
    return dict(
        steps=[int(path.stem) for path in paths],
        curves=curves,
        questions=[question for _, question in questions],
        names=[task.name(token) for token in range(task.vocab_size)],
        parameters=sum(weight.numel() for weight in model.parameters()),
    )


# --------------------------------------------------------------------------------------------------
# The page


def fill(about):
    """page.html with the scripts and the models in their places."""
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for name in SCRIPTS:
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
    _, model, task, flags = loaded[0]
    about.update(examples_of(task))
    about["loops"] = min(about["loops"], about["most"])
    about["tour"], words = tour_of(model, task, flags, about["most"])
    if len(models) > 1:
        words["control"] = models[1]["name"]
    if args.boards:
        about["boards"] = boards_of(args.boards, args.device)
        words["boards"] = about["boards"]["model"]["about"]
    if args.grokking:
        about["grokking"] = grokking_of(args.grokking, args.device)
        words["snapshots"] = len(about["grokking"]["steps"])
        words["grokking"] = f"{about['grokking'].pop('parameters'):,} parameters"
        words["others"] = ", ".join(about["grokking"]["names"][:2])
    about["words"] = words
    path = args.out or runs[0] / "page.html"
    path.write_text(fill(about), encoding="utf-8")
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
