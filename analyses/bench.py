"""
No run needed: the speed of this code, in training, inference and generation

One shape, random weights, every number the median of repetitions in turns. `looped` is the model as train.py uses it,
with its fast twins (fast.py), `plain` the same as looped.py alone builds it: before and after stand in one run. The
other kinds change one thing: `untied` gives every loop layers of its own, `truncated` takes the gradient through the
last two loops only, `checkpointed` computes the states in between twice, `bfloat16` rounds the products, `compiled`
compiles the loop. Which compiler there is, and how fast bfloat16 is, the machine decides.
"""

import dataclasses
from argparse import Namespace

import torch
from tqdm import tqdm

from analyses.cache import measure_generation
from analyses.common import main_of
from analyses.cost import count_flops, forward_of, kept_bytes, race
from fast import checkpoint_loops, compile_loop, speed_up
from figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt, write
from looped import Config, LoopedGPT
from runs import loss_function
from tasks import Batch

MANY, NEEDS_RUN = False, False
SHAPE = Config(vocab_size=64, block_size=64, n_embd=128, n_prelude=1, n_core=2, n_coda=1)
SIZE, LENGTHS, REPEATS = 16, (32, 128, 512), 7  # sequences in a batch; texts before a new token; repetitions
LOOPS = (1, 2, 4, 8, 16, 32)
KINDS = ("looped", "plain", "untied", "truncated", "checkpointed", "bfloat16", "compiled")
INFERENCE = ("looped", "plain", "untied", "compiled")  # the others differ in training only
STYLES = dict(zip(KINDS, ("o-", "*-", "^:", "s--", "v-.", "x-", "d--")))
COLORS = dict(zip(KINDS, (BLUE, "#56B4E9", ORANGE, GREEN, "#CC79A7", GREY, "k")))
POLICIES = {  # what is kept of the tokens before: the label, and the kind whose style it borrows
    "none": ("a cache\nfor each loop", "looped"),
    "first": ("the first loop's", "untied"),
    "last": ("the last loop's", "truncated"),
    "no cache": ("no cache", "checkpointed"),
}


def add_flags(parser):
    pass


# -----------------------------------------------------------------------------
# measure


def make_model(kind, loops, device, shape):
    """A model of a kind, with the same random weights as the others as far as it can have them."""
    torch.manual_seed(0)
    config = dataclasses.replace(shape, loops=loops)
    if kind == "untied":
        config.tied = False
    if kind == "truncated":
        config.backprop_loops = 2
    model = LoopedGPT(config).to(device)
    if kind != "plain":
        speed_up(model)
    if kind == "checkpointed":
        checkpoint_loops(model, max(1, round(loops**0.5)))
    if kind == "compiled":
        compile_loop(model)
    return model


def training_step(model, batch, loops, precision="float32"):
    """A function that does one whole step: forward, backward, clipping, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    loss_of = loss_function(Namespace(precision=precision, backprop_loops=model.config.backprop_loops), model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss, _ = loss_of(batch.tokens, batch.targets, loops)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def compiler_works(batch, shape):
    try:
        model = make_model("compiled", 2, batch.tokens.device, shape)
        training_step(model, batch, torch.full((len(batch.tokens),), 2))()
    except RuntimeError as error:
        print(f"compiled: left out ({str(error).splitlines()[0]})")
        return False
    return True


def measure_peak(batch, shape):
    """FLOPs a millisecond in one large product of matrices: what this machine could do at most."""
    rows, C = batch.tokens.numel(), shape.n_embd
    a, b = torch.randn(rows, C, device=batch.tokens.device), torch.randn(C, 4 * C, device=batch.tokens.device)
    return 2 * rows * C * 4 * C / race(dict(product=lambda: a @ b), 50)["product"]


def measure_passes(kinds, batch, shape, repeats, peak):
    """One row for each kind and loop count: ms of a training step and of a forward pass, FLOPs, memory, rates."""
    (B, T), device, rows = batch.tokens.shape, batch.tokens.device, []
    for loops in tqdm(LOOPS, desc="bench", leave=False):
        counts, jobs, models = torch.full((B,), loops), {}, {}
        for kind in kinds:
            models[kind] = make_model(kind, loops, device, shape)
            precision = kind if kind == "bfloat16" else "float32"
            jobs[kind, "training"] = training_step(models[kind], batch, counts, precision)
            if kind in INFERENCE:
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
    return rows


def measure_sampled(batch, shape, repeats):
    """Milliseconds of a step with 8 loops for every sequence, and with 1 to 15, 8 on average."""
    B = len(batch.tokens)
    counts = dict(fixed=torch.full((B,), 8), sampled=torch.arange(B) % 15 + 1)
    counts["sampled"][B // 15 * 15 :] = 8
    model = make_model("looped", 8, batch.tokens.device, shape)
    return race({name: training_step(model, batch, loops) for name, loops in counts.items()}, repeats)


# -----------------------------------------------------------------------------
# draw


def draw_bench(numbers):
    """Training time beside that of `looped`, memory, inference beside `looped`, generation."""
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(WIDTH, 7.4), layout="constrained")
    loops = list(dict.fromkeys(row["loops"] for row in numbers["rows"]))
    table = {(row["kind"], row["what"], row["loops"]): row for row in numbers["rows"]}

    def curve(kind, what, key):
        rows = [table.get((kind, what, n), {}) for n in loops]
        return [row[key] for row in rows] if all(key in row for row in rows) else None

    def draw_over_loops(axis, curves, title):
        for kind, values in curves.items():
            axis.plot(loops, values, STYLES[kind], color=COLORS[kind], lw=1.8, ms=5)
        axis.set(xlabel="loops", xscale="log")
        axis.set_xticks(loops, loops)
        axis.set_xticks([], minor=True)
        axis.set_title(title)
        axis.autoscale_view()  # label_ends wants the final limits
        label_ends(axis, [(values[-1], kind, COLORS[kind]) for kind, values in curves.items()], gap=0.085)

    for axis, what, name in ((a, "training", "A training step"), (c, "inference", "A forward pass")):
        usual = curve("looped", what, "ms")
        times = {kind: curve(kind, what, "ms") for kind in KINDS}
        times = {kind: [ms / one for ms, one in zip(values, usual)] for kind, values in times.items() if values}
        axis.set(ylim=(0, 1.1 * max(map(max, times.values()))), ylabel="time, in units of looped")
        draw_over_loops(axis, times, f"{name} (looped: {usual[0]:,.0f} to {usual[-1]:,.0f} ms)")
    memory = {kind: curve(kind, "training", "memory") for kind in KINDS}
    memory = {kind: [kept / 1e6 for kept in values] for kind, values in memory.items() if values}
    b.set(yscale="log", ylabel="megabytes")
    draw_over_loops(b, memory, "Activations kept in training")
    lengths = numbers["generation"]["lengths"]
    for policy, (_, like) in POLICIES.items():
        d.plot(lengths, numbers["generation"][policy], STYLES[like], color=COLORS[like], lw=1.8, ms=5)
    d.set(xlabel="tokens before it", ylabel="milliseconds", xscale="log", yscale="log")
    d.set_xticks(lengths, lengths)
    d.set_xticks([], minor=True)
    d.set_title("One more token, 8 loops")
    d.autoscale_view()
    label_ends(d, [(numbers["generation"][p][-1], name, COLORS[like]) for p, (name, like) in POLICIES.items()], gap=0.1)
    figure.suptitle(title_of(numbers, loops, table))
    return figure


def title_of(numbers, loops, table):
    def ratio(kind, key):
        return table[kind, "training", loops[-1]][key] / table["looped", "training", loops[-1]][key]

    title = f"{loops[-1]} loops: the last two alone get a gradient in {ratio('truncated', 'ms'):.2f} of the time,\n"
    title += f"checkpoints keep {ratio('checkpointed', 'memory'):.2f} of the memory"
    if ("compiled", "training", loops[-1]) in table:
        title += f", compiled takes {ratio('compiled', 'ms'):.2f} of the time"
    threads = numbers["threads"]
    return f"{title} ({threads} thread{'s' * (threads > 1)})"


# -----------------------------------------------------------------------------
# say


def say_bench(numbers):
    rate, generation = numbers["peak_gflops_a_second"], dict(numbers["generation"])
    size = "{} x {}".format(*numbers["batch"])
    print(f"\nbatch {size}, {numbers['threads']} threads; a product runs at {rate:.0f} GFLOP/s")
    print("what       kind          loops   ms/step   tokens/s   GFLOPs   of peak   kept MB")
    for row in numbers["rows"]:
        text = f"{row['what']:<10} {row['kind']:<13} {row['loops']:>5} {row['ms']:>9.1f}"
        text += f" {row['tokens_a_second']:>10,.0f}"
        text += f" {row['flops'] / 1e9:>8.2f} {row['share_of_peak']:>9.2f}" if "flops" in row else f"{'-':>9} {'-':>9}"
        print(f"{text} {row['memory'] / 1e6:>9.1f}" if "memory" in row else text)
    sampled = numbers["sampled"]["sampled"] / numbers["sampled"]["fixed"]
    print(f"sampled loops, 8 on average: {sampled:.2f} of the time of 8 for all")
    lengths = ", ".join(map(str, generation.pop("lengths")))
    each = "; ".join(f"{policy} {', '.join(f'{ms:.1f}' for ms in times)}" for policy, times in generation.items())
    print(f"one more token behind {lengths} (ms): {each}")


def main(runs, args):
    folder = runs[0]
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    shape = (2, SIZE, SHAPE.block_size)
    tokens, targets = torch.randint(SHAPE.vocab_size, shape, generator=generator).to(args.device)
    batch, kinds = Batch(tokens, targets, None), list(KINDS)
    if "compiled" in kinds and not compiler_works(batch, SHAPE):
        kinds.remove("compiled")
    peak = measure_peak(batch, SHAPE)
    rows = measure_passes(kinds, batch, SHAPE, REPEATS, peak)
    sampled = measure_sampled(batch, SHAPE, REPEATS)
    model = make_model("looped", 8, args.device, dataclasses.replace(SHAPE, block_size=max(LENGTHS) + 1))
    generation = measure_generation(model, 8, LENGTHS, 3 * REPEATS)
    numbers = dict(shape=dataclasses.asdict(SHAPE), batch=[SIZE, SHAPE.block_size], threads=torch.get_num_threads())
    numbers.update(torch=torch.__version__, device=str(args.device), peak_gflops_a_second=peak / 1e6, seeds=[0])
    numbers.update(rows=rows, sampled=sampled, generation=dict(lengths=list(LENGTHS), **generation))
    say_bench(numbers)
    write(folder, "bench", draw_bench(numbers), numbers)


if __name__ == "__main__":
    main_of("bench")
