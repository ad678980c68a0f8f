"""
Train a looped GPT on a task: `python train.py --task multihop` writes runs/multihop/.

Without other flags this is the CPU run of that task (two cores, minutes); `--scale gpu` swaps in the recipe for one
GPU, and any flag given by hand wins. A run folder holds config.json, metrics.jsonl, checkpoint.pt and curve.png.
Everything random is a function of (seed, purpose, step), so `--resume` continues a run as if it had never stopped.
"""

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch

import runs
from recipes import PRESETS, RECIPES
from tasks import stream

Sampler = Literal["blind", "difficulty", "fixed", "uniform", "poisson", "lognormal"]


@dataclass
class Settings:
    steps: int = 3000  # optimizer steps
    batch: int = 64  # examples a step (in each process, under torchrun)
    lr: float = 2e-3  # peak learning rate (AdamW)
    warmup: int = 100  # steps of linear warmup, before the cosine
    min_lr: float = 0.05  # what the cosine ends at, as a share of lr
    weight_decay: float = 0.01  # of matrices only
    beta2: float = 0.99  # AdamW's second beta
    clip: float = 1.0  # gradient norm
    ema: float = 0.0  # decay of an average of the weights, used for evaluation (0: none; TRM 2025: 0.999)
    sampler: Sampler = "blind"  # how many loops each question gets: see sample_loops
    lead: int = 0  # sampler=blind takes, for every question, the largest difficulty + lead + uniform(0..slack) loops
    slack: int = 4  # see lead; sampler=difficulty takes each question's own difficulty, a hint how long to think
    per: Literal["sequence", "batch"] = "sequence"  # what a sampled count is for (Parcae 2026: per sequence is better)
    curriculum: bool = True  # start at difficulty 1; one more when the hardest reaches the gate
    gate: float = 0.95  # the accuracy that opens the next difficulty (Kohli 2026)
    eval_every: int = 500  # steps between evaluations (and checkpoints)
    eval_size: int = 500  # examples of each difficulty in an evaluation
    snapshots: bool = False  # keep the weights of every evaluation, in OUT/snapshots


def sample_loops(flags, task, difficulty, step):
    """How many loops each sequence of a step takes, (B,) int64 on the CPU; `difficulty` (B,) is a hint, see below."""
    generator = torch.Generator().manual_seed(stream(flags.seed, "loops", step))
    B = len(difficulty)
    if flags.sampler == "fixed":
        loops = torch.full((B,), flags.loops)
    elif flags.sampler == "uniform":
        loops = torch.randint(1, flags.loops + 1, (B,), generator=generator)
    elif flags.sampler == "poisson":  # clipped as in Kohli 2026
        loops = torch.poisson(torch.full((B,), float(flags.loops)), generator=generator).long()
        loops = loops.clamp(max=2 * flags.loops)
    elif flags.sampler == "lognormal":  # Huginn 2025: the mean itself is drawn, so that some counts are large
        mean = torch.exp(math.log(flags.loops) - 0.125 + 0.5 * torch.randn(B, generator=generator))
        loops = (1 + torch.poisson(mean, generator=generator).long()).clamp(max=4 * flags.loops)
    else:
        steps = torch.full((B,), task.max_difficulty)  # blind: whatever is asked
        if flags.sampler == "difficulty":  # a hint: the model is told how long to think
            steps = difficulty.cpu()
        loops = steps + flags.lead + torch.randint(flags.slack + 1, (B,), generator=generator)
    if flags.per == "batch":
        loops = (loops.max() if flags.sampler == "difficulty" else loops[0]).expand(B)
    return loops.clamp(min=1)


def most_loops(flags, task, difficulty=None):
    """The largest loop count that training asks for: at a difficulty, or of all."""
    if flags.sampler in ("blind", "difficulty"):
        told = difficulty if flags.sampler == "difficulty" else None
        return (told or task.max_difficulty) + flags.lead + flags.slack
    return {"poisson": 2, "lognormal": 4}.get(flags.sampler, 1) * flags.loops


def train(flags, task, model, checkpoint=None):
    """Run to the end and return the last evaluation, {split: {difficulty: accuracy}}; stopped before that: None."""
    optimizer = make_optimizer(flags, model)
    average = copy.deepcopy(model).requires_grad_(False) if flags.ema else None  # of the weights
    progress = dict(step=0, level=1 if flags.curriculum else task.max_difficulty, mastery=0.0)
    parts = dict(model=model, optimizer=optimizer, ema=average)
    run = runs.Run(flags, parts, progress, checkpoint)
    loss_of = runs.loss_function(flags, model)

    for step in run.steps():
        # a batch of questions, and how often each is looped
        level = progress["level"]
        batch = task.batch("train", step, flags.batch * runs.RANKS, (1, level) if flags.curriculum else None)
        loops = sample_loops(flags, task, batch.difficulty, step)
        batch, loops, weight = run.share(batch, loops)

        # the loss, its gradient, a step of the optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(flags, step)
        loss, prediction = loss_of(batch.tokens, batch.targets, loops)
        optimizer.zero_grad(set_to_none=True)
        (loss * weight).backward()
        gradient = torch.nn.utils.clip_grad_norm_(model.parameters(), flags.clip or math.inf)
        right, hardest = task.check(batch, prediction), batch.difficulty >= level
        sums = (loss.detach() * weight, gradient, right.sum(), (right & hardest).sum(), hardest.sum())
        loss, gradient, n_right, n_right_hardest, n_hardest = run.total(*sums)
        loss, gradient = loss / runs.RANKS, gradient / runs.RANKS
        if not math.isfinite(loss + gradient):
            with torch.no_grad():
                size = model.think(batch.tokens, loops).norm(dim=-1).mean().item()
            run.explode(loss, gradient, size)
        optimizer.step()
        if average:
            keep = min(flags.ema, (1 + step) / (10 + step))  # the first weights are soon forgotten
            for mean, p in zip(average.parameters(), model.parameters()):
                mean.lerp_(p, 1 - keep)

        # the curriculum: who has mastered the hardest questions so far is given harder ones
        if flags.curriculum and level < task.max_difficulty and n_hardest:
            progress["mastery"] += 0.1 * (n_right_hardest / n_hardest - progress["mastery"])
            if progress["mastery"] >= flags.gate:
                progress.update(level=level + 1, mastery=0.0)

        # what the user sees, and keeps
        progress["step"] = step + 1
        now = dict(loss=loss, right=n_right / (flags.batch * runs.RANKS), loops=loops.float().mean().item())
        now["level"] = progress["level"]
        run.show(**now)
        regular = (step + 1) % flags.eval_every == 0 or step + 1 == flags.steps
        if regular or run.time_is_up:
            now.update(step=step + 1, lr=learning_rate(flags, step), gradient=gradient)
            judged = average or model
            run.log(judged, {split: evaluate(judged, task, flags, split) for split in task.splits}, regular, **now)
    return run.close(task.max_difficulty)


def make_optimizer(flags, model):
    """AdamW, without weight decay for gains and biases."""
    matrices = [p for name, p in model.named_parameters() if p.dim() >= 2 and not name.endswith("bias")]
    others = [p for name, p in model.named_parameters() if p.dim() < 2 or name.endswith("bias")]
    groups = [dict(params=matrices, weight_decay=flags.weight_decay), dict(params=others, weight_decay=0.0)]
    fused = matrices[0].device.type != "mps"
    return torch.optim.AdamW(groups, lr=flags.lr, betas=(0.9, flags.beta2), fused=fused)


def learning_rate(flags, step):
    """Linear warmup, then a cosine."""
    progress = min(1.0, step / flags.steps)
    cosine = flags.min_lr + (1 - flags.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
    return flags.lr * min(1.0, (step + 1) / max(1, flags.warmup)) * cosine


@torch.no_grad()
def evaluate(model, task, flags, split, size=None):
    """{difficulty: accuracy} on the same questions of a split each time, at the most loops of training."""
    result = {}
    for difficulty in task.difficulties(split):
        batch = task.batch(split, 0, size or flags.eval_size, difficulty)
        loops = flags.loops if flags.sampler in ("poisson", "lognormal") else most_loops(flags, task, difficulty)
        right = task.check(batch, model(batch.tokens, loops).argmax(-1))
        result[difficulty] = right.sum().item() / len(right)
    return result


def trained_loops(flags, task):
    """The mean and the largest loop count that training asked for in the end, at the difficulties it had opened."""
    batches = [task.batch("train", step, 500, (1, flags.level)) for step in range(8)]
    drawn = torch.cat([sample_loops(flags, task, batch.difficulty, step) for step, batch in enumerate(batches)])
    return dict(mean=round(drawn.float().mean().item(), 1), largest=most_loops(flags, task, flags.level))


def load_model(folder, device="cpu"):
    """A trained run, ready to be asked: (model, task, flags). The averaged weights, where the run kept any."""
    return runs.load_model(folder, Settings, device)


def parse_flags(argv=None):
    """All flags, and the names of those given by hand."""
    return runs.parse_flags(argv, Settings, RECIPES, PRESETS, __doc__)


def rehearse(flags, task, model):
    """An evaluation and a loss in small, so that what cannot run says so before a folder is made."""
    try:
        evaluate(model, task, flags, "val", size=1)
        task.batch("val", 0, flags.eval_size)
        batch = task.batch("train", 0, flags.batch, (1, 1) if flags.curriculum else None)
        loops = sample_loops(flags, task, batch.difficulty, 0)
        runs.loss_function(flags, model)(batch.tokens, batch.targets, loops)
    except RuntimeError as error:
        if not flags.compile:
            raise
        runs.fail(f"--compile does not work here: {str(error).strip().splitlines()[0]}")


def main(argv=None):
    flags, given = parse_flags(argv)
    checkpoint = runs.resume(flags, given, Settings) if flags.resume else None
    device = runs.prepare(flags)
    task = runs.make_task(flags, device)
    if flags.sampler in ("blind", "difficulty") and flags.tied:
        flags.loops = most_loops(flags, task)  # for calls that do not say
    model = runs.make_model(flags, task).to(device)
    runs.save_time_and_memory(flags, model)
    rehearse(flags, task, model)
    if not flags.resume:
        runs.open_folder(flags)
    with runs.control_beside(flags, most_loops(flags, task)) as ended_well:
        if train(flags, task, model, checkpoint) is not None:
            ended_well.append(True)


if __name__ == "__main__":
    runs.run_main(main)
