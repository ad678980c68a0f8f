"""
Train a looped GPT on a task: `python train.py --task multihop` writes runs/multihop/.

Without other flags this is the CPU run of that task (two cores, minutes). Its recipe, in
support/recipes.py, replaces some of the defaults below and of Config in looped.py; that of multihop
says position="window", reach=3, lr=3e-3, steps=2500. `--scale gpu` takes the recipe for one GPU,
and any flag given by hand wins. A run folder holds config.json (all settings of the run),
metrics.jsonl, checkpoint.pt and curve.png. Every random draw of a step is seeded by (seed, what it
is for, step), so `--resume` continues a run as if it had never stopped.

Papers named below: Kohli 2026 (arXiv 2604.07822), Parcae 2026 (2604.12946), Huginn 2025
(2502.05171).
"""

import copy
import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from support import flags as flag_parser
from support import folder
from support.hashing import stream
from support.processes import fail, in_precision, prepare, run_main, share_of
from support.session import Run, control_beside

Sampler = Literal["blind", "difficulty", "fixed", "uniform", "poisson", "lognormal"]


@dataclass
class Settings:
    """
    How to train. Every field is a flag, and the comment behind it is its line in --help. The fields
    of the task and of the model's Config (loops, ..) are flags, too, and so are those of RunFlags
    in support/flags.py (seed, out, ..).
    """

    steps: int = 3000  # optimizer steps
    batch: int = 64  # questions in a step (in each process, under torchrun)
    lr: float = 2e-3  # peak learning rate (AdamW)
    warmup: int = 100  # first steps, in which the rate rises linearly (times the cosine)
    min_lr: float = 0.05  # where the cosine ends, as a share of lr (in nanoGPT it is absolute)
    decay_steps: int = 0  # steps of the cosine, after which the rate stays (0: all steps)
    weight_decay: float = 0.01  # of matrices and the embedding
    beta2: float = 0.99  # AdamW's second beta
    clip: float = 1.0  # largest norm of the gradient (0: any)
    ema: float = 0.0  # decay of an average of the weights, which is judged and loaded (0: none)
    sampler: Sampler = "blind"  # how many loops a question gets, see sample_loops
    lead: int = 0  # samplers blind and difficulty: loops added to the (blind: largest) difficulty
    slack: int = 4  # samplers blind and difficulty: up to this many more, at random
    per: Literal["sequence", "batch"] = "sequence"  # what has a loop count of its own (Parcae 2026)
    curriculum: bool = True  # begin with difficulty 1 and open the next at the gate
    gate: float = 0.95  # running accuracy, below 1, that opens harder questions (Kohli 2026)
    eval_every: int = 500  # steps between evaluations (and checkpoints)
    eval_size: int = 500  # questions of each difficulty in an evaluation
    snapshots: bool = False  # keep the weights of every evaluation, in OUT/snapshots


def train(flags, task, model, checkpoint=None):
    """
    Train to the end, or for --minutes, and return the last evaluation, {split: {difficulty:
    accuracy}}. A run that is interrupted (Ctrl-C, SIGTERM) saves a checkpoint and returns None.
    """
    optimizer = make_optimizer(flags, model)
    average = copy.deepcopy(model).requires_grad_(False) if flags.ema else None
    progress = dict(step=0, level=1 if flags.curriculum else task.max_difficulty, mastery=0.0)
    parts = dict(model=model, optimizer=optimizer, ema=average)
    # The run (support/session.py) shows the progress and writes the folder. It shares `parts` and
    # `progress` with the loop below: it saves them in checkpoints, and fills them in from one.
    # run.loss is model.loss in the --precision of the run. (Under torchrun each process draws
    # questions of its own, and the backward pass averages their gradients.)
    run = Run(flags, task, parts, progress, checkpoint)

    for step in run.steps():  # from progress["step"] on; Ctrl-C ends them early
        # a batch of questions, and how often each is looped
        level = progress["level"]  # the hardest difficulty that the curriculum has opened
        batch = task.batch("train", step, flags.batch, (1, level) if flags.curriculum else None)
        loops = sample_loops(flags, task, batch.difficulty, step)

        # the loss, its gradient, a step of the optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(flags, step)
        loss, prediction = run.loss(batch.tokens, batch.targets, loops)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), flags.clip or math.inf)
        if not math.isfinite(loss.item() + norm.item()):
            run.fail_at(loss, norm, batch.tokens, loops)  # ends the program, with advice
        optimizer.step()
        if average is not None:
            update_average(average, model, flags.ema, step)

        # the curriculum: once the hardest questions so far are mastered, harder ones are asked
        right = task.check(batch, prediction)
        hardest = batch.difficulty >= level  # (random sums may be harder than was asked for)
        if flags.curriculum and level < task.max_difficulty and hardest.any():
            accuracy = right[hardest].sum().item() / hardest.sum().item()
            # a running mean that starts at 0: at gate 0.95 a level takes at least 29 batches that
            # have such questions
            progress["mastery"] += 0.1 * (accuracy - progress["mastery"])
            if progress["mastery"] >= flags.gate:
                progress.update(level=level + 1, mastery=0.0)

        # what the user sees, and keeps
        progress["step"] = step + 1
        now = dict(
            loss=loss.item(),
            right=right.sum().item() / len(right),
            level=progress["level"],
            loops=loops.float().mean().item(),
        )
        run.show(**now)
        if run.is_due(step):  # every --eval_every steps, and after the last
            judged = model if average is None else average
            results = {split: evaluate(judged, task, flags, split) for split in task.splits}
            now.update(step=step + 1, lr=learning_rate(flags, step), gradient=norm.item())
            run.log(judged, results, **now)
    return run.close()


# --------------------------------------------------------------------------------------------------
# How many loops?


def sample_loops(flags, task, difficulty, step):
    """
    The loop count of each question of a step, (B,) int64 on the CPU.

        blind        the largest difficulty of the task's training (not of the curriculum's level) +
                     lead + a random number 0 .. slack, so that the count says nothing about the
                     question
        difficulty   the question's own difficulty + lead + 0 .. slack: the model is told how long
                     to think
        fixed        always --loops
        uniform      1 .. --loops
        poisson      about --loops on average, at least 1 and at most 2 * --loops (Kohli 2026)
        lognormal    1 + a Poisson count whose mean is itself drawn, from a log-normal distribution
                     with the mean --loops, so that some counts are large; at most 4 * --loops
                     (Huginn 2025)
    """
    generator = torch.Generator().manual_seed(stream(flags.seed, "loops", step))
    B = len(difficulty)
    if flags.sampler == "fixed":
        loops = torch.full((B,), flags.loops)
    elif flags.sampler == "uniform":
        loops = torch.randint(1, flags.loops + 1, (B,), generator=generator)
    elif flags.sampler == "poisson":
        loops = torch.poisson(torch.full((B,), float(flags.loops)), generator=generator).long()
        loops = loops.clamp(max=2 * flags.loops)
    elif flags.sampler == "lognormal":
        sigma = 0.5  # exp(N(mu, sigma^2)) has the mean exp(mu + sigma^2 / 2)
        mu = math.log(flags.loops) - sigma**2 / 2
        mean = torch.exp(mu + sigma * torch.randn(B, generator=generator))
        loops = (1 + torch.poisson(mean, generator=generator).long()).clamp(max=4 * flags.loops)
    else:
        needed = torch.full((B,), task.max_difficulty)
        if flags.sampler == "difficulty":
            needed = difficulty.cpu()
        loops = needed + flags.lead + torch.randint(flags.slack + 1, (B,), generator=generator)
    if flags.per == "batch":  # for sampler=difficulty, what the hardest question needs
        loops = (loops.max() if flags.sampler == "difficulty" else loops[0]).expand(B)
    return loops.clamp(min=1)


def most_loops(flags, task, difficulty=None):
    """
    The largest loop count that the sampler gives to a question of this difficulty, or of any
    (None). Only the sampler "difficulty" looks at it. With it a few questions get more: random sums
    that come out harder than was asked for, and with per="batch" easy questions beside hard ones.
    """
    if flags.sampler == "blind":
        return task.max_difficulty + flags.lead + flags.slack
    if flags.sampler == "difficulty":
        return (difficulty or task.max_difficulty) + flags.lead + flags.slack
    return {"poisson": 2, "lognormal": 4}.get(flags.sampler, 1) * flags.loops


def trained_loops(flags, task):
    """
    What the sampler gives at the level that training ended with: {"mean": .., "largest": ..}, the
    largest as in most_loops. flags.level, which load_model sets, is that level.
    """
    # several batches, since with per="batch" each has one count
    batches = [task.batch("train", step, 500, (1, flags.level)) for step in range(8)]
    counts = [
        sample_loops(flags, task, batch.difficulty, step) for step, batch in enumerate(batches)
    ]
    mean = torch.cat(counts).float().mean().item()
    return dict(mean=round(mean, 1), largest=most_loops(flags, task, flags.level))


# --------------------------------------------------------------------------------------------------
# The optimizer, and evaluation


def make_optimizer(flags, model):
    """AdamW, with weight decay for matrices and embeddings, and none for gains and biases."""
    matrices, others = [], []
    for name, p in model.named_parameters():
        is_matrix = p.dim() >= 2 and not name.endswith("bias")  # the biases of Positions are 2-D
        (matrices if is_matrix else others).append(p)
    groups = [
        dict(params=matrices, weight_decay=flags.weight_decay),
        dict(params=others, weight_decay=0.0),
    ]
    fused = matrices[0].device.type != "mps"
    return torch.optim.AdamW(groups, lr=flags.lr, betas=(0.9, flags.beta2), fused=fused)


def learning_rate(flags, step):
    """A cosine over decay_steps, after which the rate stays; times a linear warmup."""
    progress = min(1.0, step / (flags.decay_steps or flags.steps))
    cosine = flags.min_lr + (1 - flags.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
    return flags.lr * min(1.0, (step + 1) / max(1, flags.warmup)) * cosine


def update_average(average, model, decay, step):
    """
    An exponential moving average of the weights. Its decay is at first (1 + step) / (10 + step), so
    that about the last tenth of the steps counts and the random start is forgotten. It reaches
    `decay` after 9 / (1 - decay) steps, which a short run never does.
    """
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, p in zip(average.parameters(), model.parameters()):
            mean.lerp_(p, 1 - decay)
        for kept, buffer in zip(average.buffers(), model.buffers()):
            kept.copy_(buffer)


@torch.no_grad()
def evaluate(model, task, flags, split, size=None):
    """
    {difficulty: accuracy} on the same questions of a split each time. Each difficulty takes the
    most loops that training gives to it (for samplers poisson and lognormal, whose largest counts
    are rare, --loops).
    """
    result, was_training = {}, model.training
    model.eval()  # for a model of your own that has dropout, say; LoopedGPT has none
    for difficulty in task.difficulties(split):
        batch = task.batch(split, 0, size or flags.eval_size, difficulty)
        loops = most_loops(flags, task, difficulty)
        if flags.sampler in ("poisson", "lognormal"):
            loops = flags.loops
        right = task.check(batch, model(batch.tokens, loops).argmax(-1))
        result[difficulty] = right.sum().item() / len(right)
    model.train(was_training)
    return result


# --------------------------------------------------------------------------------------------------
# A model of your own


class Model(Protocol):
    """
    What the file of `--model my_model.py` has to define: one nn.Module with these. LoopedGPT of
    looped.py is one. (The analyses also ask for `states` and `readout`. No code refers to this
    class: it is here to be read.)
    """

    config_class: type  # a dataclass with at least `vocab_size` and `loops`; its fields are flags

    def __init__(self, config): ...

    def forward(self, tokens, loops):
        """Logits (B, T, vocab_size) of tokens (B, T) after `loops` loops, an int."""

    def loss(self, tokens, targets, loops):
        """
        The loss, where each sequence takes its own `loops` (B,), int64 on the CPU; and the
        prediction (B, T).
        """


# --------------------------------------------------------------------------------------------------
# The command line


# Settings is handed over because support/ cannot import this file, which imports support/.
def load_model(path, device="cpu", task="", model=""):
    """
    A trained run, ready to be asked: (model, task, flags). With --ema, the weights are the averaged
    ones. flags.level is the difficulty that the curriculum had opened. If a file of your own is
    outside this repository, name it again, task="my_task.py", so that it may be executed.
    """
    return folder.load_model(path, Settings, device, task, model)


def parse_flags(argv=None):
    """All flags, and the names of those given by hand."""
    return flag_parser.parse_flags(argv, Settings, __doc__, folder.read_config)


def rehearse(flags, task, model):
    """
    Check the loop counts and the tokens, and try one small evaluation and one loss, so that a
    combination of flags that cannot run fails here, before a folder is made.
    """
    if not getattr(flags, "tied", True) and most_loops(flags, task) > flags.loops:
        fail(
            f"an untied model of --loops {flags.loops} has layers for so many loops, and --sampler "
            f"{flags.sampler} asks for up to {most_loops(flags, task)}: add --sampler fixed, or "
            "more --loops"
        )
    try:  # what torch.compile cannot compile, it reports as a RuntimeError of many lines
        batch = task.batch("train", 0, flags.batch, (1, 1) if flags.curriculum else None)
        for tokens in (batch.tokens, task.batch("val", 0, flags.eval_size).tokens):
            if not 0 <= tokens.min() <= tokens.max() < task.vocab_size:
                fail(
                    f"tokens of --task {flags.task} are not in 0..{task.vocab_size - 1}: "
                    f"{tokens.min()}..{tokens.max()}"
                )
        evaluate(model, task, flags, "val", size=1)
        loops = sample_loops(flags, task, batch.difficulty, 0)
        in_precision(flags, model.loss)(batch.tokens, batch.targets, loops)
    except RuntimeError as error:
        if not flags.compile:
            raise
        fail(f"with --compile, a first step fails: {str(error).strip().splitlines()[0]}")


def main(argv=None):
    flags, given = parse_flags(argv)
    checkpoint = folder.resume(flags, given, Settings) if flags.resume else None
    device = prepare(flags)
    task = share_of(flag_parser.make_task(flags, device))  # under torchrun: batches of its own
    if flags.sampler in ("blind", "difficulty") and getattr(flags, "tied", True):
        # They count loops from the difficulty, and --loops is refused with them. The model still
        # needs a number, for model(tokens) without one.
        flags.loops = most_loops(flags, task)
    # LoopedGPT(Config(..)) of looped.py, or another --model; some parts in faster twins
    model = flag_parser.make_model(flags, task).to(device)
    flag_parser.save_time_and_memory(flags, model)  # --compile, --checkpoint_loops
    rehearse(flags, task, model)
    if not flags.resume:
        folder.open_folder(flags)
    # With --control, a second process trains an untied model in OUT/control at the same time: with
    # pre-norm, which suits a stack better, and always through all of its layers.
    with control_beside(flags, most_loops(flags, task)) as control:
        result = train(flags, task, model, checkpoint)
        control.run_ended_well = result is not None  # else the control is stopped, too


if __name__ == "__main__":
    run_main(main)
