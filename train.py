"""
Train a looped GPT on a task: `python train.py --task multihop` writes runs/multihop/.

Without other flags this is the CPU run of that task (two cores, minutes); `--scale gpu` swaps in the recipe for one
GPU, and any flag given by hand wins. A run folder holds config.json, metrics.jsonl, checkpoint.pt and curve.png.
Everything random is a function of (seed, purpose, step), so `--resume` continues a run as if it had never stopped.
"""

import argparse
import copy
import inspect
import json
import math
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
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from figures import plt
from looped import Config, LoopedGPT
from tasks import IGNORE, TASKS, Batch, load_tensors, stream


@dataclass
class Settings:
    task: str = "multihop"  # multihop | composition | phop | addition | sudoku
    scale: str = "cpu"  # cpu | gpu: which recipe the defaults come from
    out: str = ""  # the run folder (default runs/TASK)
    seed: int = 0  # of the weights, the data and the loop counts
    device: str = "auto"  # auto | cpu | cuda | mps
    threads: int = 0  # CPU threads (0: PyTorch decides)
    precision: str = "float32"  # float32 | bfloat16: of the products in training; weights stay float32
    compile: bool = False  # compile the loop, for long runs: takes half a minute; PyTorch 2.5, on a CPU a C++ compiler
    resume: bool = False  # continue the run in the folder
    overwrite: bool = False  # start over in a folder that is not empty
    minutes: float = 0.0  # save and stop after this long, to be resumed (0: no limit)
    control: bool = False  # beside it, train an untied control as deep as the longest think, in OUT/control
    bar: int = 0  # line of the progress bar

    hops: int = 6  # multihop, phop: the most hops in training
    entities: int = 24  # multihop, composition: entities of the world
    relations: int = 4  # multihop: relations, each a permutation of the entities; composition: random ones
    pause: int = 0  # multihop: pads between the question and the place where its answer is read
    alone: float = 0.1  # composition: the share of the facts that training never composes
    composed: float = 1.0  # composition: the share of the training compositions that are shown
    length: int = 32  # phop: letters of the text
    alphabet: int = 4  # phop: different letters
    digits: int = 8  # addition: digits of each number in training
    box: str = "2x2"  # sudoku: 2x2 | 2x3 | 3x3 for boards of 4x4, 6x6, 9x9
    puzzles: int = 10000  # sudoku: puzzles in the bank
    search: bool = False  # sudoku: also puzzles that logic by singles does not solve

    steps: int = 3000  # optimizer steps
    batch: int = 64  # examples a step (in each process, under torchrun)
    lr: float = 2e-3  # peak learning rate (AdamW)
    warmup: int = 100  # steps of linear warmup, before the cosine
    min_lr: float = 0.05  # what the cosine ends at, as a share of lr
    weight_decay: float = 0.01  # of matrices only
    beta2: float = 0.99  # AdamW's second beta
    clip: float = 1.0  # gradient norm
    ema: float = 0.0  # decay of an average of the weights, used for evaluation (0: none; TRM 2025: 0.999)
    loss: str = "final"  # final | every: on the last loop or the mean over all loops
    sampler: str = "difficulty"  # training loops: fixed | uniform (1..loops) | poisson (mean loops) | difficulty
    lead: int = 0  # sampler=difficulty tells the model how long to think: difficulty + lead + uniform(0..slack)
    slack: int = 4  # see lead
    per: str = "sequence"  # sequence | batch: what a sampled loop count is for (Parcae 2026: per sequence is better)
    curriculum: bool = True  # start at difficulty 1; one more when the hardest reaches the gate
    gate: float = 0.95  # the accuracy that opens the next difficulty (Kohli 2026)
    eval_every: int = 500  # steps between evaluations (and checkpoints)
    eval_size: int = 500  # examples of each difficulty in an evaluation
    snapshots: bool = False  # keep the weights of every evaluation, in OUT/snapshots


CHOICES = dict(
    task=tuple(TASKS),
    scale=("cpu", "gpu"),
    device=("auto", "cpu", "cuda", "mps"),
    precision=("float32", "bfloat16"),
    box=("2x2", "2x3", "3x3"),
    loss=("final", "every"),
    sampler=("fixed", "uniform", "poisson", "difficulty"),
    per=("sequence", "batch"),
)
FROM_TASK = ("vocab_size", "block_size", "causal", "coordinates")  # the task knows them, they are no flags
LOWEST = dict(steps=1, batch=1, eval_every=1, eval_size=1)  # of any other number: 0
HIGHEST = dict(gate=1, min_lr=1, ema=0.99999, beta2=0.99999, threads=1024)
NOT_SAVED = ("resume", "overwrite", "minutes", "control", "bar", "threads", "out", "device")  # may differ on --resume

# What a task's run needs other than the defaults above; results/LOG.md tells how it was chosen.
CPU = dict(
    multihop=dict(reembed=True, loops=10, reach=3, lr=3e-3, steps=2500),
    composition=dict(
        **dict(entities=64, relations=10, reembed=True, norm="pre", slack=2, reach=3, curriculum=False),
        **dict(weight_decay=0.3, ema=0.999, batch=512, min_lr=0.4, steps=5500, eval_every=125, snapshots=True),
    ),
    phop=dict(hops=4, loops=10, position="rope", lead=2, steps=2600),
    addition=dict(loops=12, lead=2, steps=4500),
    sudoku=dict(position="grid", sampler="fixed", loops=12, loss="every", curriculum=False, lr=3e-3, steps=1000),
)
GPU = dict(
    multihop=dict(hops=16, entities=200, relations=10, n_embd=256, loops=20, batch=1024, steps=20000, lr=1e-3),
    phop=dict(hops=16, length=256, n_embd=256, loops=20, batch=512, steps=20000, lr=1e-3),
    addition=dict(digits=20, n_embd=128, loops=24, batch=1024, steps=10000),
    sudoku=dict(
        box="3x3", puzzles=100000, search=True, n_embd=128, loops=16, batch=512, steps=30000, lr=1e-3, ema=0.999
    ),
)


VERSION = 1  # of the checkpoints
RANK, RANKS = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # torchrun says so


def fail(message, code=2):
    if RANK == 0:
        print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    raise SystemExit(code)


# -----------------------------------------------------------------------------
# Flags


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def parse_flags(argv=None):
    """All flags as a namespace, and the names of those given by hand. The comment of a field is its --help line."""
    first = Parser(add_help=False, allow_abbrev=False)
    first.add_argument("--task", default=Settings.task)
    first.add_argument("--scale", default=Settings.scale)
    known, _ = first.parse_known_args(argv)
    recipe = {**CPU.get(known.task, {}), **(GPU.get(known.task, {}) if known.scale == "gpu" else {})}
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    defaults = {}
    for title, cls in (("the run", Settings), ("the model", Config)):
        group = parser.add_argument_group(title)
        comments = dict(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(cls), re.M))
        for field in fields(cls):
            if field.name in FROM_TASK:
                continue
            default = defaults[field.name] = recipe.get(field.name, field.default)
            kind = dict(type=field.type, metavar=field.type.__name__.upper(), choices=CHOICES.get(field.name))
            if field.type is bool:
                kind = dict(action=argparse.BooleanOptionalAction)
            text = f"{comments[field.name]} (default {default})".replace("%", "%%")
            group.add_argument(f"--{field.name}", default=argparse.SUPPRESS, help=text, **kind)
    given = vars(parser.parse_args(argv))
    flags = argparse.Namespace(**{**defaults, **given})
    flags.out = flags.out or f"runs/{flags.task}"
    if flags.resume and flags.overwrite:
        fail("--resume continues a run and --overwrite starts it again: choose one")
    if not flags.resume:
        check_flags(flags, given)
    return flags, set(given)


def check_flags(flags, given):
    for name, value in vars(flags).items():
        low, high = LOWEST.get(name, 0), HIGHEST.get(name, sys.maxsize)
        if isinstance(value, (int, float)) and not low <= value <= high:
            most = f" and at most {high}" if name in HIGHEST or value > high else ""
            fail(f"--{name} must be a number of at least {low}{most}, not {value}")
    mine = task_flags(flags.task)
    for name in sorted(given):
        if name not in mine and any(name in task_flags(task) for task in TASKS):
            fail(f"--{name} has no meaning for --task {flags.task}, which takes --{', --'.join(mine)}")
    if flags.loss == "every" and flags.per == "sequence" and flags.sampler != "fixed":
        fail("--loss every needs one loop count for the whole batch: add --per batch or --sampler fixed")
    if flags.loss == "every" and (flags.backprop_loops or flags.checkpoint_loops):
        fail("--loss every needs every loop and its gradient: leave out --backprop_loops and --checkpoint_loops")
    if flags.control and RANKS > 1:
        fail("--control is trained beside a single process; under torchrun, train it in a run of its own")
    if flags.task == "sudoku" and (flags.curriculum or flags.sampler == "difficulty"):
        fail(
            "the rounds of a Sudoku are no count of loops: --task sudoku takes no --curriculum, no --sampler difficulty"
        )


def task_flags(task):
    """The names of the flags that a task takes."""
    return [name for name in inspect.signature(TASKS[task].__init__).parameters if hasattr(Settings, name)]


def find_device(name):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if (name == "cuda" and not torch.cuda.is_available()) or (name == "mps" and not torch.backends.mps.is_available()):
        fail(f"--device {name} was asked for, but PyTorch sees none here")
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and RANKS > 1 else name


def make_task(flags, device="cpu"):
    """The task of a run; ValueError for sizes that cannot work."""
    chosen = {name: getattr(flags, name) for name in task_flags(flags.task)}
    return TASKS[flags.task](seed=flags.seed, device=device, **chosen)


def make_model(flags, task):
    """The untrained model of a run; ValueError for sizes that cannot work."""
    torch.manual_seed(stream(flags.seed, "weights"))
    chosen = {f.name: getattr(flags, f.name) for f in fields(Config) if hasattr(flags, f.name)}
    chosen.update(vocab_size=task.vocab_size, block_size=task.block_size, causal=task.causal)
    return LoopedGPT(Config(**chosen, coordinates=task.coordinates if flags.position == "grid" else ()))


# -----------------------------------------------------------------------------
# One step


def sample_loops(flags, difficulty, step):
    """How many loops each sequence of a step thinks: (B,) int64 on the CPU."""
    generator = torch.Generator().manual_seed(stream(flags.seed, "loops", step))
    B, high = len(difficulty), flags.loops
    if flags.sampler == "fixed":
        loops = torch.full((B,), high)
    elif flags.sampler == "uniform":
        loops = torch.randint(1, high + 1, (B,), generator=generator)
    elif flags.sampler == "poisson":  # clipped as in Kohli 2026
        loops = torch.poisson(torch.full((B,), float(high)), generator=generator).long().clamp(max=2 * high)
    else:
        loops = difficulty.cpu() + flags.lead + torch.randint(flags.slack + 1, (B,), generator=generator)
    if flags.per == "batch":
        loops = (loops.max() if flags.sampler == "difficulty" else loops[0]).expand(B)
    return loops.clamp(min=1)


def compute_loss(flags, model, batch, loops):
    """The mean cross-entropy where an answer is asked, and the prediction (B, T) of the last loop, there alone."""
    asked = batch.targets != IGNORE
    targets = batch.targets[asked]  # (N,)
    rough = flags.precision == "bfloat16"
    keep_casts = not model.config.backprop_loops  # PyTorch 2.4 would go on using a cast made without a gradient
    with torch.autocast(asked.device.type, torch.bfloat16, enabled=rough, cache_enabled=keep_casts):
        if flags.loss == "every":
            states = model.trajectory(batch.tokens, int(loops[0]))[1:]
        else:
            states = model.think(batch.tokens, loops)[None]
        logits = model.readout(states.flatten(0, 1), asked=asked.repeat(len(states), 1))  # (len(states) * N, vocab)
    loss = F.cross_entropy(logits.float(), targets.repeat(len(states)), reduction="sum") / max(1, len(logits))
    prediction = torch.full_like(batch.targets, IGNORE)
    prediction[asked] = logits[len(logits) - len(targets) :].argmax(-1)
    return loss, prediction


@torch.no_grad()
def evaluate(model, task, flags, split, size=None):
    """{difficulty: accuracy} on the same questions of a split each time, at the most loops of training."""
    result = {}
    for difficulty in task.difficulties(split):
        batch = task.batch(split, 0, size or flags.eval_size, difficulty)
        loops = difficulty + flags.lead + flags.slack if flags.sampler == "difficulty" else flags.loops
        right = task.check(batch, model(batch.tokens, loops).argmax(-1))
        result[difficulty] = right.sum().item() / len(right)
    return result


def trained_loops(flags, task):
    """The mean and the largest loop count that training asks for, all difficulties open."""
    drawn = [sample_loops(flags, task.batch("train", step, 500).difficulty, step) for step in range(8)]
    largest = flags.loops * (2 if flags.sampler == "poisson" else 1)
    if flags.sampler == "difficulty":
        largest = task.max_difficulty + flags.lead + flags.slack
    return dict(mean=round(torch.cat(drawn).float().mean().item(), 1), largest=largest)


def learning_rate(flags, step):
    progress = min(1.0, step / flags.steps)
    cosine = flags.min_lr + (1 - flags.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
    return flags.lr * min(1.0, (step + 1) / max(1, flags.warmup)) * cosine


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


def load_run(folder, device="cpu"):
    """The flags, task, model and checkpoint of a run folder; bad ones end the program with one line."""
    folder = Path(folder)
    path = folder / "config.json"
    try:
        known = [field for cls in (Settings, Config) for field in fields(cls)]
        defaults = {field.name: field.default for field in known if field.name not in FROM_TASK + NOT_SAVED}
        flags = argparse.Namespace(**{**defaults, **json.loads(path.read_text())})  # a run may be older than a flag
        task = make_task(flags, device)
        model = make_model(flags, task).to(device)
        path = folder / "checkpoint.pt"
        with warnings.catch_warnings():  # of what foreign files may hold; the line below says enough
            warnings.simplefilter("ignore")
            checkpoint = load_tensors(path, device)
        if (version := checkpoint.get("version", 1)) != VERSION:
            fail(f"{path} is a checkpoint of version {version}; this program reads version {VERSION}")
        model.load_state_dict(checkpoint["model"])
        checkpoint["step"], checkpoint["level"], checkpoint["mastery"], checkpoint["optimizer"], checkpoint["ema"]
    except OSError as error:
        fail(f"{folder} is not the folder of a run: {path.name}: {error.strerror}")
    except Exception as error:  # whatever a file that is cut short, damaged or foreign can raise
        kind = "config" if path.name == "config.json" else "checkpoint"
        fail(f"{path} is not a {kind} of this program, or damaged ({type(error).__name__})")
    return flags, task, model, checkpoint


def load_model(folder, device="cpu"):
    """A trained run, ready to be asked: (model, task, flags). The averaged weights, where the run kept any."""
    flags, task, model, checkpoint = load_run(folder, device)
    if checkpoint["step"] < flags.steps:
        print(f"note: {folder} stopped at step {checkpoint['step']} of {flags.steps}", file=sys.stderr)
    model.load_state_dict(checkpoint["ema"] or checkpoint["model"])
    return model.eval(), task, flags


def resume(flags, given):
    """Take over the flags of the run in the folder, unless those given by hand contradict them; its checkpoint."""
    saved, _, _, checkpoint = load_run(flags.out)
    both = [(n, getattr(flags, n), getattr(saved, n, None)) for n in sorted(given - set(NOT_SAVED))]
    if wrong := [f"--{name} {mine} (there: {theirs})" for name, mine, theirs in both if mine != theirs]:
        fail(f"the run in {flags.out} has other flags than {', '.join(wrong)}")
    if getattr(saved, "ranks", 1) != RANKS:
        fail(f"the run in {flags.out} was made by {saved.ranks} processes, not by {RANKS}")
    vars(flags).update(vars(saved))
    return checkpoint


def open_folder(flags):
    """Make or clear the run folder. config.json is written last, so a folder that has one can be resumed."""
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


def forget_after(metrics, step):
    """Drop the lines that a run wrote after its last checkpoint, and a last one that was cut in half."""
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    save(metrics, "".join(line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step))


def draw_curve(folder):
    """curve.png: loss, and accuracy by difficulty, from metrics.jsonl."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
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
    figure.suptitle(f"{folder}: at least {lowest:.2f} on every trained difficulty after {steps[-1]} steps")
    figure.savefig(folder / "curve.png", dpi=120)
    plt.close(figure)


# -----------------------------------------------------------------------------
# The run


def start_control(flags, task):
    """
    The untied control, trained beside the run in a process of its own, on the same data: as many distinct layers as
    the longest think of the looped model, all of them always used, pre-norm, which suits it better (results/LOG.md).
    """
    folder = Path(flags.out, "control")
    control = {**vars(flags), "tied": False, "sampler": "fixed", "loops": trained_loops(flags, task)["largest"]}
    control.update(norm="pre", backprop_loops=0, out=str(folder), control=False, bar=1)
    control.update(resume=flags.resume and (folder / "checkpoint.pt").exists(), overwrite=False)
    foreign = {name for each in TASKS for name in task_flags(each)} - set(task_flags(flags.task))
    argv = [sys.executable, str(Path(__file__).resolve())]
    for name, value in control.items():
        if name not in foreign and name != "ranks":
            argv += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    return subprocess.Popen(argv)


@contextmanager
def asked_to_stop():
    """A list that Ctrl-C or SIGTERM fills, so that a step is finished and saved; asked twice, it stops at once."""
    stopped = []

    def finish_step_and_stop(number, _):
        if stopped:
            raise KeyboardInterrupt
        stopped.append("interrupted")

    handlers = {number: signal.signal(number, finish_step_and_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Loss(torch.nn.Module):
    """compute_loss as a module, which is what DistributedDataParallel wraps."""

    def __init__(self, flags, model):
        super().__init__()
        self.flags, self.model = flags, model

    def forward(self, batch, loops):
        return compute_loss(self.flags, self.model, batch, loops)


def train(flags, task, model, checkpoint=None):
    """Run to the end and return the last evaluation, {split: {difficulty: accuracy}}; stopped before that: None."""
    device, folder, began = next(model.parameters()).device.type, Path(flags.out), time.time()
    matrices = [p for name, p in model.named_parameters() if p.dim() >= 2 and not name.endswith("bias")]
    others = [p for name, p in model.named_parameters() if p.dim() < 2 or name.endswith("bias")]
    groups = [dict(params=matrices, weight_decay=flags.weight_decay), dict(params=others, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=flags.lr, betas=(0.9, flags.beta2), fused=device != "mps")
    averaged = copy.deepcopy(model).requires_grad_(False) if flags.ema else None
    first, level, mastery = 0, 1 if flags.curriculum else task.max_difficulty, 0.0

    def save_at(step):
        state = dict(version=VERSION, step=step, level=level, mastery=mastery, model=model.state_dict())
        state.update(optimizer=optimizer.state_dict(), ema=averaged.state_dict() if averaged else None)
        if RANK == 0:
            save(folder / "checkpoint.pt", state)

    if checkpoint:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        first, level, mastery = (checkpoint[key] for key in ("step", "level", "mastery"))
        if averaged:
            averaged.load_state_dict(checkpoint["ema"])
        if RANK == 0:
            forget_after(folder / "metrics.jsonl", first)
    elif RANK == 0:
        save_at(0)
        saved = {name: value for name, value in vars(flags).items() if name not in NOT_SAVED}
        save(folder / "config.json", json.dumps(saved, indent=1))
    loss_of = Loss(flags, model)
    if RANKS > 1:
        loss_of = DistributedDataParallel(loss_of, find_unused_parameters=not flags.tied)

    results, done = {}, first
    shown = dict(total=flags.steps, initial=first, position=flags.bar, desc=folder.name, mininterval=0.5)
    bar = tqdm(**shown, disable=RANK > 0)
    with asked_to_stop() as stopped:
        for step in range(first, flags.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(flags, step)
            batch = task.batch("train", step, flags.batch * RANKS, (1, level) if flags.curriculum else None)
            loops = sample_loops(flags, batch.difficulty, step)[RANK::RANKS]
            n_asked = (batch.targets != IGNORE).sum()
            batch = Batch(*(part[RANK::RANKS] for part in batch))  # every rank draws the same batch and takes its part
            torch.manual_seed(stream(flags.seed, "noise", step) + RANK)  # for state_init="noise"
            loss, prediction = loss_of(batch, loops)
            loss = loss * ((batch.targets != IGNORE).sum() / n_asked.clamp(min=1))  # these add up to the mean over all
            optimizer.zero_grad(set_to_none=True)
            (loss * RANKS).backward()  # the gradients of the ranks are averaged
            gradient = torch.nn.utils.clip_grad_norm_(model.parameters(), flags.clip or math.inf)

            right, hardest = task.check(batch, prediction), batch.difficulty >= level
            sums = [loss.detach(), gradient / RANKS, right.sum(), (right & hardest).sum(), hardest.sum()]
            sums = torch.stack([each.float() for each in (*sums, torch.tensor(len(stopped), device=loss.device))])
            if RANKS > 1:
                dist.all_reduce(sums)
            loss, gradient, n_right, n_right_hardest, n_hardest, stops = sums.tolist()  # one transfer for all
            if not math.isfinite(loss + gradient):
                bar.close()
                with torch.no_grad():
                    size = model.think(batch.tokens, loops).norm(dim=-1).mean().item()
                what = f"the loss is {loss}, its gradient {gradient} and the size of a state {size:.3g} at step {step}"
                good = f"the last good checkpoint is {folder}/checkpoint.pt"
                fail(f"{what}; {good}. Try a lower --lr or --clip, or another --norm", code=1)
            optimizer.step()
            if averaged:
                keep = min(flags.ema, (1 + step) / (10 + step))  # the first weights are soon forgotten
                for average, p in zip(averaged.parameters(), model.parameters()):
                    average.lerp_(p, 1 - keep)
            if flags.curriculum and level < task.max_difficulty and n_hardest:
                mastery += 0.1 * (n_right_hardest / n_hardest - mastery)
                if mastery >= flags.gate:
                    level, mastery = level + 1, 0.0

            done = step + 1
            now = dict(loss=loss, right=n_right / (flags.batch * RANKS), loops=loops.float().mean().item(), level=level)
            postfix = "loss {loss:.3f}, right {right:.2f}, {loops:.1f} loops, difficulty to {level}"
            bar.set_postfix_str(postfix.format(**now), refresh=False)
            bar.update()
            if RANK == 0 and (done % flags.eval_every == 0 or done == flags.steps):
                judged = averaged or model
                results = {split: evaluate(judged, task, flags, split) for split in task.splits}
                row = dict(step=done, **now, lr=learning_rate(flags, step), gradient=gradient, **results)
                with open(folder / "metrics.jsonl", "a") as file:
                    file.write(json.dumps(row) + "\n")
                if flags.snapshots:
                    save(folder / "snapshots" / f"{done:06d}.pt", judged.state_dict())
                save_at(done)
            if flags.minutes and time.time() - began > 60 * flags.minutes:
                stopped.append(f"stopped after {flags.minutes} minutes")
            if (stops if RANKS > 1 else stopped) and done < flags.steps:  # ranks stop together, at the next step
                save_at(done)
                break
    bar.close()
    if RANK > 0:
        return None
    if done < flags.steps:
        again = f"python train.py --out {folder} --resume{' --control' if flags.control else ''}"
        print(f"{(stopped or ['interrupted'])[0]} at step {done}; continue with: {again}")
        return None
    draw_curve(folder)
    minutes, parameters = (time.time() - began) / 60, sum(p.numel() for p in model.parameters())
    print(f"{folder}: {flags.steps} steps in {minutes:.1f} minutes on {device}, {parameters:,} parameters")
    for split, result in results.items():
        print(f"accuracy by difficulty ({split} split): " + "  ".join(f"{d}: {a:.3f}" for d, a in result.items()))
    return results


def rehearse(flags, task, model):
    """An evaluation and a loss in small, so that what cannot run says so before a folder is made."""
    try:
        evaluate(model, task, flags, "val", size=1)
        task.batch("val", 0, flags.eval_size)
        batch = task.batch("train", 0, flags.batch, (1, 1) if flags.curriculum else None)
        compute_loss(flags, model, batch, sample_loops(flags, batch.difficulty, 0))
    except RuntimeError as error:
        if not flags.compile:
            raise
        fail(f"--compile does not work here: {str(error).strip().splitlines()[0]}")


def main(argv=None):
    flags, given = parse_flags(argv)
    flags.ranks = RANKS
    checkpoint = resume(flags, given) if flags.resume else None
    if flags.control and not flags.threads:
        flags.threads = max(1, (os.cpu_count() or 2) // 2)
    if flags.threads:
        torch.set_num_threads(flags.threads)
    device = find_device(flags.device)
    if RANKS > 1:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    task = make_task(flags, device)
    model = make_model(flags, task).to(device)
    if flags.compile:
        model.compile_loop()
    rehearse(flags, task, model)
    if not flags.resume and RANK == 0:
        open_folder(flags)
    control = start_control(flags, task) if flags.control else None
    result = None
    try:
        result = train(flags, task, model, checkpoint)
    finally:
        if control and result is None:
            control.terminate()  # it saves and leaves, too (on Windows it only leaves)
        code = control.wait() if control else 0
    if code:
        raise SystemExit(code)


def run(main):
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


if __name__ == "__main__":
    run(main)
