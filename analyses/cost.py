"""
Parameters, FLOPs, milliseconds and memory over loops, against an untied stack

A looped model of n loops is compared with the untied stack of n times the layers, which this
analysis builds itself. They share what is computed (FLOPs, time, activations kept for the backward
pass) and differ in what is stored: parameters. It also measures how much of the time of all loops
`solve` needs, which lets every question stop on its own.
"""

import time
from argparse import Namespace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from analyses.common import load
from support.figures import BLUE, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from support.flags import make_model
from support.processes import fail, loss_function

MANY = False
LOOPS = (1, 2, 4, 8, 16, 32)


def add_flags(parser):
    pass


# --------------------------------------------------------------------------------------------------
# Measure


def race(jobs, repeats=7):
    """
    Milliseconds {name: median} of some functions. They are called in turns, so that a slow minute
    of the machine is a slow minute for all.
    """
    times = {name: [] for name in jobs}
    for repeat in range(repeats + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:  # the first is for warming up
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: sorted(each)[len(each) // 2] for name, each in times.items()}


def kept_bytes(model, work):
    """
    Bytes that autograd keeps for the backward pass of work(). Each storage counts once, and those
    of the parameters do not count.
    """
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()  # noqa: F841 (it must live as long as the sum, or storages would be reused)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def count_flops(work):
    """Multiplications and additions of matrix products."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:  # fused attention would hide its products
        work()
    return counter.get_total_flops()


def forward_of(model, tokens, loops):
    def forward():
        with torch.no_grad():
            model(tokens, loops)

    return forward


def measure_cost(models, flags, batch, n):
    """A row of numbers for each of the models {name: model}, which loop n times."""
    counts, jobs, losses = torch.full((len(batch.tokens),), n), {}, {}
    for name, model in models.items():
        losses[name] = loss_of(model, flags, batch, counts)
        jobs[name, "forward"] = forward_of(model, batch.tokens, n)
        jobs[name, "training"] = backward_of(losses[name])
    times, rows = race(jobs, 5), {}
    for name, model in models.items():
        rows[name] = dict(
            parameters=sum(p.numel() for p in model.parameters()),
            flops=count_flops(jobs[name, "forward"]),
            memory=kept_bytes(model, losses[name]),
            forward_ms=times[name, "forward"],
            training_ms=times[name, "training"],
        )
    return rows


def loss_of(model, flags, batch, counts):
    in_precision = loss_function(flags, model)

    def loss():
        return in_precision(batch.tokens, batch.targets, counts)[0]

    return loss


def backward_of(loss):
    return lambda: loss().backward()


def measure_solve(model, task, size=256):
    """
    How much of the time of all loops `solve` takes, beside the share of the loops that its
    sequences use.
    """
    tokens = task.batch("val", 0, size, None).tokens
    most = 64 if model.config.tied else model.config.loops
    used = model.solve(tokens, max_loops=most)[1].float().mean().item()
    jobs = dict(
        solve=lambda: model.solve(tokens, max_loops=most),
        all=lambda: model.solve(tokens, "fixed", max_loops=most),
    )
    times = race(jobs, 5)
    return dict(
        batch=size,
        max_loops=most,
        mean_loops=used,
        share_of_loops=used / most,
        share_of_time=times["solve"] / times["all"],
    )


# --------------------------------------------------------------------------------------------------
# Draw


def draw_cost(numbers):
    """Four curves over loops, looped and untied."""
    loops = numbers["loops"]
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6), layout="constrained")
    panels = {
        "parameters": ("Parameters", "thousands", 1e3),
        "flops": ("A forward pass", "GFLOPs", 1e9),
        "training_ms": ("A training step", "milliseconds", 1),
        "memory": ("Activations kept for it", "megabytes", 1e6),
    }
    for axis, (key, (title, label, unit)) in zip(axes.flat, panels.items()):
        looped = [row[key] / unit for row in numbers["looped"]]
        untied = [row[key] / unit for row in numbers["untied"]]
        axis.plot(loops, looped, "o-", color=BLUE, lw=3.5, ms=7)
        axis.plot(loops, untied, "^:", color=ORANGE, lw=2)
        axis.set(xlabel="loops", ylabel=label, xscale="log", yscale="log")
        axis.set_xticks(loops, loops)
        axis.set_xticks([], minor=True)
        axis.set_title(title)
        axis.autoscale_view()  # label_ends wants the final limits
        label_ends(axis, [(looped[-1], "looped", BLUE), (untied[-1], "untied", ORANGE)], gap=0.1)
    looped, untied = numbers["looped"][-1], numbers["untied"][-1]
    share = looped["training_ms"] / untied["training_ms"]
    fewer = untied["parameters"] / looped["parameters"]
    title = f"{loops[-1]} loops take {share:.2f} of the time of {loops[-1]} times the layers, with "
    title += f"{fewer:.0f} times fewer parameters"
    size = "{} x {} tokens".format(*numbers["batch"])
    basis = f"{numbers.get('task', 'one run')}, {size}, {seeds_text(numbers['seeds'])}"
    figure.suptitle(f"{title}\n({basis})")
    return figure


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    model, task, flags = load(runs[0], args.device, needs=("solve",))
    if not flags.tied:
        fail(f"{runs[0]} is untied; name the looped run, cost builds the untied stacks itself")
    if not hasattr(model.config, "tied"):
        fail(f"{runs[0]}: cost builds untied stacks, and --model {flags.model} has no such form")
    batch = task.batch("val", 0, flags.batch, task.max_difficulty if task.grows else None)
    numbers = dict(task=flags.task, loops=list(LOOPS), batch=list(batch.tokens.shape))
    numbers.update(seeds=[flags.seed], looped=[], untied=[])
    print(f"\nbatch {flags.batch} x {batch.tokens.shape[1]} tokens")
    print("loops         parameters    MFLOPs  forward ms  training ms  kept MB")
    for n in tqdm(LOOPS, desc="cost", leave=False, disable=None):
        models = dict(looped=model, untied=untied_stack(model, task, flags, n))
        for name, row in measure_cost(models, flags, batch, n).items():
            numbers[name].append(row)
            text = f"{n:>5} {name} {row['parameters']:>12,} {row['flops'] / 1e6:>9,.0f}"
            text += f" {row['forward_ms']:>11.1f} {row['training_ms']:>12.1f}"
            tqdm.write(f"{text} {row['memory'] / 1e6:>8.1f}")
    saved = numbers["solve"] = measure_solve(model, task)
    text = "solve: {mean_loops:.1f} of {max_loops} loops on average ({share_of_loops:.2f}) "
    text += "in {share_of_time:.2f} of the time of all loops, batch {batch}"
    print(text.format(**saved))
    write(runs[0], "cost", draw_cost(numbers), numbers)


def untied_stack(model, task, flags, loops):
    """An untied model of the same kind and size, with layers for so many loops."""
    untied = Namespace(**{**vars(flags), "tied": False, "loops": loops})
    return make_model(untied, task).to(next(model.parameters()).device)
