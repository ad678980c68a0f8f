"""
What loops cost; analyze.py calls it. `cost` is about one run: parameters, FLOPs, time and memory, and the time that
`solve` saves. `cache` is about accuracy: what happens if the loops share a cache. `bench` is about this code: the speed
of training, inference and generation at one shape, with every number the median of interleaved repetitions.
"""

import dataclasses
import time
from argparse import Namespace
from collections import defaultdict

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from figures import BLUE, GREEN, GREY, ORANGE, plt, write
from inside import check_seeds
from looped import Config, LoopedGPT
from tasks import Batch
from train import compute_loss, fail, load_model


def race(jobs, repeats=7):
    """Milliseconds {name: median} of some functions, called in turns, so that a slow minute is everybody's."""
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
    """Bytes that autograd keeps for the backward pass of work(), each storage once, parameters apart."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()  # noqa: F841 (alive until the sum is made, or storages would be used again)
    return sum(kept.values()) - sum(p.nbytes for p in model.parameters() if p.untyped_storage().data_ptr() in kept)


def count_flops(work):
    """Multiplications and additions of matrix products."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:  # fused attention would hide its products from the counter
        work()
    return counter.get_total_flops()


# -----------------------------------------------------------------------------
# cost


def forward_of(model, tokens, loops):
    def forward():
        with torch.no_grad():
            model(tokens, loops)

    return forward


def measure_solve(model, task, size=256):
    """How much of the time of all loops `solve` takes, beside the share of the loops that its sequences use."""
    tokens = task.batch("val", 0, size, None).tokens
    most = 64 if model.config.tied else model.config.loops
    used = model.solve(tokens, max_loops=most)[1].float().mean().item()
    jobs = dict(solve=lambda: model.solve(tokens, max_loops=most), all=lambda: model.solve(tokens, "fixed", None, most))
    times = race(jobs, 5)
    return dict(
        batch=size,
        max_loops=most,
        mean_loops=used,
        share_of_loops=used / most,
        share_of_time=times["solve"] / times["all"],
    )


def cost(runs, folder, args):
    """Looped against untied at equal loops: what they share (FLOPs, time, activations) and what not (parameters)."""
    model, task, flags = load_model(runs[0], args.device)
    if not flags.tied:
        fail(f"{runs[0]} is an untied run; name the looped one, cost builds the untied stacks itself")
    batch = task.batch("val", 0, flags.batch, task.max_difficulty if task.grows else None)
    loops = [1, 2, 4, 8, 16, 32]
    numbers = dict(loops=loops, batch=list(batch.tokens.shape), seeds=[flags.seed], looped=[], untied=[])
    print(f"\nbatch {flags.batch} x {batch.tokens.shape[1]} tokens")
    print("loops         parameters    MFLOPs  forward ms  training ms  kept MB")
    for n in tqdm(loops, desc="cost", leave=False):
        models = dict(looped=model)
        models["untied"] = LoopedGPT(dataclasses.replace(model.config, tied=False, loops=n)).to(batch.tokens.device)
        counts, jobs = torch.full((len(batch.tokens),), n), {}
        for name, each in models.items():
            jobs[name, "forward"] = forward_of(each, batch.tokens, n)
            jobs[name, "training"] = lambda each=each: compute_loss(flags, each, batch, counts)[0].backward()
        times = race(jobs, 5)
        for name, each in models.items():
            row = dict(
                parameters=sum(p.numel() for p in each.parameters()),
                flops=count_flops(jobs[name, "forward"]),
                memory=kept_bytes(each, lambda each=each: compute_loss(flags, each, batch, counts)[0]),
                forward_ms=times[name, "forward"],
                training_ms=times[name, "training"],
            )
            numbers[name].append(row)
            text = f"{n:>5} {name} {row['parameters']:>12,} {row['flops'] / 1e6:>9,.0f}"
            text += f" {row['forward_ms']:>11.1f} {row['training_ms']:>12.1f} {row['memory'] / 1e6:>8.1f}"
            tqdm.write(text)
    saved = numbers["solve"] = measure_solve(model, task)
    text = (
        "solve: {mean_loops:.1f} of {max_loops} loops on average ({share_of_loops:.2f}) in {share_of_time:.2f} of the"
    )
    print(text.format(**saved), f"time of all loops, batch {saved['batch']}")
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    panels = dict(
        parameters="parameters",
        flops="FLOPs of a forward pass",
        training_ms="training step (ms)",
        memory="activations kept (bytes)",
    )
    for axis, (key, label) in zip(axes, panels.items()):
        axis.plot(loops, [row[key] for row in numbers["looped"]], "o-", color=BLUE, label="looped")
        axis.plot(loops, [row[key] for row in numbers["untied"]], "^:", color=ORANGE, label="untied")
        axis.set(xlabel="loops", ylabel=label, xscale="log", yscale="log")
        axis.set_xticks(loops, loops)
    axes[0].legend()
    few, many = numbers["looped"][-1]["parameters"], numbers["untied"][-1]["parameters"]
    longer = numbers["looped"][-1]["training_ms"] / numbers["untied"][-1]["training_ms"]
    title = f"{flags.task}: {loops[-1]} loops take {longer:.2f} times the time of {loops[-1]} times the layers"
    figure.suptitle(f"{title}, and {many / few:.0f} times fewer parameters")
    write(folder, "cost", figure, numbers)


# -----------------------------------------------------------------------------
# cache


@torch.no_grad()
def read_token_by_token(model, tokens, loops, share):
    """Logits (B, T, vocab_size) of a model that sees one token at a time and the cache of those before."""
    kept = defaultdict(list)
    steps = [model.decode(tokens[:, i : i + 1], kept, i, loops, share) for i in range(tokens.shape[1])]
    return torch.cat(steps, dim=1)


def cache(runs, folder, args):
    """Accuracy of reading a question token by token, with a cache of its own for each loop and with shared ones."""
    loaded = [load_model(run, args.device) for run in runs]
    check_seeds([flags for _, _, flags in loaded])
    _, task, flags = loaded[0]
    if not task.causal:
        fail(f"--task {flags.task} is not causal: nothing of it can be cached")
    top = task.max_difficulty
    difficulties = [d for d in sorted({0, 1, top // 4, top // 2, top, 2 * top}) if d > 0 or flags.task == "addition"]
    loops = args.loops or flags.loops
    names = dict(none="one for each loop", last="of the last loop, for all", first="of the first loop, for all")
    numbers = dict(difficulty=difficulties, unit=task.unit, loops=loops, seeds=[flags.seed for _, _, flags in loaded])
    for share in tqdm(names, desc="cache", leave=False):
        rows = []
        for model, task, _ in loaded:
            batches = [task.batch("test", 0, args.examples, difficulty) for difficulty in difficulties]
            answers = [read_token_by_token(model, batch.tokens, loops, share).argmax(-1) for batch in batches]
            rows.append([task.check(*pair).float().mean().item() for pair in zip(batches, answers)])
        numbers[share] = torch.tensor(rows).mean(0).tolist()
        numbers[f"{share}_by_run"] = rows
    print(f"\n{task.unit:>26}  " + "  ".join(f"{d:>5}" for d in difficulties))
    figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for (share, name), color, style in zip(names.items(), (BLUE, ORANGE, GREEN), ("o-", "s--", "^:")):
        print(f"{name:>26}  " + "  ".join(f"{accuracy:.3f}" for accuracy in numbers[share]))
        axis.plot(difficulties, numbers[share], style, color=color, label=name)
    axis.set(xlabel=f"difficulty ({task.unit})", ylabel="accuracy (test)", ylim=(-0.03, 1.03))
    axis.legend(title="keys and values kept")
    loss = {
        share: max(exact - shared for exact, shared in zip(numbers["none"], numbers[share]))
        for share in ("last", "first")
    }
    title = f"{flags.task}, {loops} loops: to share the last loop's cache costs up to {loss['last']:.2f},"
    axis.set_title(f"{title}\nthe first's {loss['first']:.2f} ({len(runs)} seed{'s' * (len(runs) > 1)})", size="medium")
    write(folder, "cache", figure, numbers)


# -----------------------------------------------------------------------------
# bench

SHAPE = Config(vocab_size=64, block_size=64, n_embd=128, n_prelude=1, n_core=2, n_coda=1)
LOOPS = (1, 2, 4, 8, 16, 32)
KINDS = dict(  # how a model is built, from its loops, and how it is run
    looped=lambda loops: {},
    untied=lambda loops: dict(tied=False),
    truncated=lambda loops: dict(backprop_loops=2),
    checkpointed=lambda loops: dict(checkpoint_loops=max(1, round(loops**0.5))),
    bfloat16=lambda loops: {},
    compiled=lambda loops: {},
)
STYLES = dict(
    zip(KINDS, (("o-", BLUE), ("^:", ORANGE), ("s--", GREEN), ("v-.", "#CC79A7"), ("x-", GREY), ("d--", "k")))
)


def bench_model(kind, loops, device, shape):
    torch.manual_seed(0)
    model = LoopedGPT(dataclasses.replace(shape, loops=loops, **KINDS[kind](loops))).to(device)
    if kind == "compiled":
        model.compile_loop()
    return model


def training_step(model, batch, loops, precision="float32"):
    """A function that does one whole step: forward, backward, clipping, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    flags = Namespace(loss="final", precision=precision)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = compute_loss(flags, model, batch, loops)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def bench_passes(kinds, batch, shape, repeats):
    """One row for each kind and loop count: ms of a training step and of a forward pass, FLOPs, memory, rates."""
    (B, T), device = batch.tokens.shape, batch.tokens.device
    a, b = torch.randn(B * T, shape.n_embd, device=device), torch.randn(shape.n_embd, 4 * shape.n_embd, device=device)
    peak = 2 * a.numel() * b.shape[1] / race(dict(product=lambda: a @ b), 50)["product"]  # FLOPs in a millisecond
    rows = []
    for loops in tqdm(LOOPS, desc="bench", leave=False):
        counts, jobs, models = torch.full((B,), loops), {}, {}
        for kind in kinds:
            models[kind] = bench_model(kind, loops, device, shape)
            precision = kind if kind == "bfloat16" else "float32"
            jobs[kind, "training"] = training_step(models[kind], batch, counts, precision)
            if kind in ("looped", "untied", "compiled"):
                jobs[kind, "inference"] = forward_of(models[kind], batch.tokens, loops)
        times = race(jobs, repeats)
        flops = {what: count_flops(jobs["looped", what]) for what in ("training", "inference")}
        for (kind, what), ms in times.items():
            row = dict(kind=kind, what=what, loops=loops, ms=ms, tokens_a_second=1000 * B * T / ms)
            if kind not in ("truncated", "checkpointed"):  # which skip a part of them or repeat one
                row.update(flops=flops[what], share_of_peak=flops[what] / ms / peak)
            if what == "training" and kind != "compiled":  # what a compiled graph keeps, the hooks do not see
                row["memory"] = kept_bytes(models[kind], jobs[kind, what])
            rows.append(row)
    return rows, peak


def bench_sampled(batch, shape, repeats):
    """Milliseconds of a step with 8 loops for every sequence, and with 1 to 15, 8 on average."""
    B = len(batch.tokens)
    counts = dict(fixed=torch.full((B,), 8), sampled=torch.arange(B) % 15 + 1)
    counts["sampled"][B // 15 * 15 :] = 8
    model = bench_model("looped", 8, batch.tokens.device, shape)
    return race({name: training_step(model, batch, loops) for name, loops in counts.items()}, repeats)


def bench_generation(shape, device, lengths, repeats):
    """Milliseconds of one more token behind texts of some lengths: {policy: [ms]}."""
    shape = dataclasses.replace(shape, block_size=max(lengths) + 1)
    model, found = bench_model("looped", 8, device, shape), defaultdict(list)
    for length in lengths:
        text, jobs = torch.randint(shape.vocab_size, (1, length + 1), device=device), {}
        for share in ("none", "first", "last"):
            kept = defaultdict(list)
            model.decode(text[:, :-1], kept, 0, 8, share)

            def one_more(kept=kept, share=share):
                model.decode(
                    text[:, -1:], defaultdict(list, {key: list(past) for key, past in kept.items()}), length, 8, share
                )

            jobs[share] = one_more
        jobs["no cache"] = forward_of(model, text, 8)
        for name, ms in race(jobs, repeats).items():
            found[name].append(ms)
    return dict(found)


def bench(_, folder, args, shape=SHAPE, size=16, lengths=(32, 128, 512), repeats=7):
    """Speed and memory at the reference shape; which compiler or bfloat16 there is, the machine decides."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(shape.vocab_size, (2, size, shape.block_size), generator=generator).to(args.device)
    batch, kinds = Batch(tokens, targets, None), list(KINDS)
    try:
        if "compiled" in kinds:
            training_step(bench_model("compiled", 2, args.device, shape), batch, torch.full((size,), 2))()
    except RuntimeError as error:
        kinds.remove("compiled")
        print(f"compiled: left out ({str(error).splitlines()[0]})")
    rows, peak = bench_passes(kinds, batch, shape, repeats)
    sampled = bench_sampled(batch, shape, repeats)
    generation = bench_generation(shape, args.device, lengths, 3 * repeats)
    numbers = dict(shape=dataclasses.asdict(shape), batch=[size, shape.block_size], threads=torch.get_num_threads())
    numbers.update(torch=torch.__version__, device=str(args.device), peak_gflops_a_second=peak / 1e6, seeds=[0])
    numbers.update(rows=rows, sampled=sampled, generation=dict(lengths=list(lengths), **generation))

    print(
        f"\nbatch {size} x {shape.block_size}, {numbers['threads']} threads; a product runs at {peak / 1e6:.0f} GFLOP/s"
    )
    print("what       kind          loops   ms/step   tokens/s   GFLOPs   of peak   kept MB")
    for row in rows:
        text = (
            f"{row['what']:<10} {row['kind']:<13} {row['loops']:>5} {row['ms']:>9.1f} {row['tokens_a_second']:>10,.0f}"
        )
        text += f" {row['flops'] / 1e9:>8.2f} {row['share_of_peak']:>9.2f}" if "flops" in row else f"{'-':>9} {'-':>9}"
        print(f"{text} {row['memory'] / 1e6:>9.1f}" if "memory" in row else text)
    print("sampled loops, 8 on average: {:.2f} of the time of 8 for all".format(sampled["sampled"] / sampled["fixed"]))
    print(
        f"one more token behind {', '.join(map(str, lengths))} (ms): "
        + "; ".join(f"{name} {', '.join(f'{ms:.1f}' for ms in each)}" for name, each in generation.items())
    )
    write(folder, "bench", draw_bench(numbers), numbers)


def draw_bench(numbers):
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")

    def rows(kind, what, key):
        return [row.get(key) for row in numbers["rows"] if (row["kind"], row["what"]) == (kind, what)]

    panels = (("training", "ms", "training step (ms)"), ("training", "memory", "activations kept (bytes)"))
    panels += (("inference", "ms", "forward pass (ms)"),)
    for axis, (what, key, label) in zip(axes, panels):
        for kind, (style, color) in STYLES.items():
            if any(values := rows(kind, what, key)):
                axis.plot(LOOPS, values, style, color=color, label=kind)
        axis.set(xlabel="loops", ylabel=label, xscale="log", yscale="log")
        axis.set_xticks(LOOPS, LOOPS, minor=False)
        axis.set_xticks([], minor=True)
    axes[0].legend(fontsize="small")
    lengths, names = numbers["generation"]["lengths"], dict(zip(("none", "first", "last", "no cache"), STYLES.values()))
    for name, (style, color) in names.items():
        label = "a cache for each loop" if name == "none" else name if name == "no cache" else f"the {name} loop's"
        axes[3].plot(lengths, numbers["generation"][name], style, color=color, label=label)
    axes[3].set(xlabel="tokens before it", ylabel="one more token (ms)", xscale="log", yscale="log")
    axes[3].set_xticks(lengths, lengths)
    axes[3].set_xticks([], minor=True)
    axes[3].legend(fontsize="small")
    time, memory = ({kind: (rows(kind, "training", key) or [None])[-1] for kind in STYLES} for key in ("ms", "memory"))
    title = f"{LOOPS[-1]} loops: truncated to 2 in {time['truncated'] / time['looped']:.2f} of the time; "
    title += f"checkpointed in {memory['checkpointed'] / memory['looped']:.2f} of the memory"
    if time["compiled"]:
        title += f"; compiled in {time['compiled'] / time['looped']:.2f} of the time"
    figure.suptitle(f"{title} (medians, {numbers['threads']} thread{'s' * (numbers['threads'] > 1)})")
    return figure
