"""
No run needed: the speed of this code, in training, inference and generation

One shape, random weights, and every number the median of repetitions that are made in turns.

    plain           the model as looped.py alone builds it
    looped          the same with the faster twins of support/fast.py, as train.py uses it
    untied          every loop has layers of its own
    truncated       the gradient flows through the last two loops only
    checkpointed    the states in between are computed twice, to save memory
    bfloat16        products are rounded
    compiled        the loop is compiled

All but the first have the twins. How fast bfloat16 and a compiler are, the machine decides.
"""

import dataclasses
from argparse import Namespace

import torch
from tqdm import tqdm

from analyses.cache import measure_generation
from analyses.cost import count_flops, forward_of, kept_bytes, race
from looped import Config, LoopedGPT
from support.fast import checkpoint_loops, compile_loop, speed_up
from support.figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt, write
from support.processes import loss_function
from tasks import Batch

MANY, NEEDS_RUN = False, False
SHAPE = Config(vocab_size=64, n_embd=128, n_prelude=1, n_core=2, n_coda=1)
SIZE, LENGTH = 16, 64  # sequences in a batch, and tokens in each
LENGTHS = (32, 128, 512)  # of the texts in front of a new token
REPEATS = 7
LOOPS = (1, 2, 4, 8, 16, 32)
KINDS = {  # the style and the colour of each
    "looped": ("o-", BLUE),
    "plain": ("*-", "#56B4E9"),
    "untied": ("^:", ORANGE),
    "truncated": ("s--", GREEN),
    "checkpointed": ("v-.", "#CC79A7"),
    "bfloat16": ("x-", GREY),
    "compiled": ("d--", "k"),
}
INFERENCE = ("looped", "plain", "untied", "compiled")  # the others differ in training only
POLICIES = {  # what is kept of the tokens before: the label, and the kind whose style it borrows
    "none": ("a cache\nfor each loop", "looped"),
    "first": ("the first loop's", "untied"),
    "last": ("the last loop's", "truncated"),
    "no cache": ("no cache", "checkpointed"),
}


def add_flags(parser):
    pass


# --------------------------------------------------------------------------------------------------
# Measure


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
    flags = Namespace(precision=precision, backprop_loops=model.config.backprop_loops)
    loss_of = loss_function(flags, model)

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
    """FLOPs a millisecond in one large product of matrices: the most that this machine can do."""
    rows, C, device = batch.tokens.numel(), shape.n_embd, batch.tokens.device
    a, b = torch.randn(rows, C, device=device), torch.randn(C, 4 * C, device=device)
    flops = 2 * rows * C * 4 * C
    return flops / race(dict(product=lambda: a @ b), 50)["product"]


def measure_passes(kinds, batch, shape, repeats, peak):
    """
    One row for each kind and loop count: milliseconds of a training step and of a forward pass,
    FLOPs, memory, rates.
    """
    (B, T), device, rows = batch.tokens.shape, batch.tokens.device, []
    for loops in tqdm(LOOPS, desc="bench", leave=False, disable=None):
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
            if kind not in ("truncated", "checkpointed"):  # they skip some of them or repeat some
                row.update(flops=flops[what], share_of_peak=flops[what] / ms / peak)
            if what == "training" and kind != "compiled":  # whose memory cannot be seen from here
                row["memory"] = kept_bytes(models[kind], jobs[kind, what])
            rows.append(row)
    return rows


def measure_sampled(batch, shape, repeats):
    """
    Milliseconds of a step with 8 loops for every sequence ("fixed"), and with 1 to 15, 8 on average
    ("sampled"), by the model with its twins; and of the same by the plain one.
    """
    B = len(batch.tokens)
    counts = dict(fixed=torch.full((B,), 8), sampled=torch.arange(B) % 15 + 1)
    counts["sampled"][B // 15 * 15 :] = 8
    jobs = {}
    for kind in ("looped", "plain"):
        model = make_model(kind, 8, batch.tokens.device, shape)
        for name, loops in counts.items():
            name = name if kind == "looped" else f"{name}, {kind}"
            jobs[name] = training_step(model, batch, loops)
    return race(jobs, repeats)


# --------------------------------------------------------------------------------------------------
# Draw


def draw_bench(numbers):
    """Training time beside that of `looped`, memory, inference beside `looped`, generation."""
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(WIDTH, 7.4), layout="constrained")
    loops = list(dict.fromkeys(row["loops"] for row in numbers["rows"]))
    table = {(row["kind"], row["what"], row["loops"]): row for row in numbers["rows"]}

    def curves(what, key):
        """{kind: a value for each loop count}, of the kinds that have all."""
        found = {}
        for kind in KINDS:
            rows = [table.get((kind, what, n), {}) for n in loops]
            if all(key in row for row in rows):
                found[kind] = [row[key] for row in rows]
        return found

    for axis, what in ((a, "training"), (c, "inference")):
        name = "A training step" if what == "training" else "A forward pass"
        times = curves(what, "ms")
        usual, relative = times["looped"], {}
        for kind, values in times.items():
            relative[kind] = [ms / one for ms, one in zip(values, usual)]
        most = max(max(values) for values in relative.values())
        axis.set(ylim=(0, 1.1 * most), ylabel="time, in units of looped")
        title = f"{name} (looped: {usual[0]:,.0f} to {usual[-1]:,.0f} ms)"
        draw_over_loops(axis, loops, relative, title)
    megabytes = {}
    for kind, values in curves("training", "memory").items():
        megabytes[kind] = [kept / 1e6 for kept in values]
    b.set(yscale="log", ylabel="megabytes")
    draw_over_loops(b, loops, megabytes, "Activations kept in training")
    draw_generation(d, numbers["generation"])
    figure.suptitle(title_of(numbers, loops, table))
    return figure


def draw_over_loops(axis, loops, curves, title):
    ends = []
    for kind, values in curves.items():
        style, color = KINDS[kind]
        axis.plot(loops, values, style, color=color, lw=1.8, ms=5)
        ends.append((values[-1], kind, color))
    axis.set(xlabel="loops", xscale="log")
    axis.set_xticks(loops, loops)
    axis.set_xticks([], minor=True)
    axis.set_title(title)
    axis.autoscale_view()  # label_ends wants the final limits
    label_ends(axis, ends, gap=0.085)


def draw_generation(axis, generation):
    lengths, ends = generation["lengths"], []
    for policy, (name, like) in POLICIES.items():
        style, color = KINDS[like]
        axis.plot(lengths, generation[policy], style, color=color, lw=1.8, ms=5)
        ends.append((generation[policy][-1], name, color))
    axis.set(xlabel="tokens before it", ylabel="milliseconds", xscale="log", yscale="log")
    axis.set_xticks(lengths, lengths)
    axis.set_xticks([], minor=True)
    axis.set_title("One more token, 8 loops")
    axis.autoscale_view()
    label_ends(axis, ends, gap=0.1)


def title_of(numbers, loops, table):
    def ratio(kind, key):
        row, usual = (table[each, "training", loops[-1]] for each in (kind, "looped"))
        return row[key] / usual[key]

    title = f"{loops[-1]} loops: the last two alone get a gradient in "
    title += f"{ratio('truncated', 'ms'):.2f} of the time,\n"
    title += f"checkpoints keep {ratio('checkpointed', 'memory'):.2f} of the memory"
    if ("compiled", "training", loops[-1]) in table:
        title += f", compiled takes {ratio('compiled', 'ms'):.2f} of the time"
    threads = numbers["threads"]
    return f"{title} ({threads} thread{'s' if threads > 1 else ''})"


# --------------------------------------------------------------------------------------------------
# Say


def say_bench(numbers):
    size = "{} x {}".format(*numbers["batch"])
    rate = f"a product runs at {numbers['peak_gflops_a_second']:.0f} GFLOP/s"
    print(f"\nbatch {size}, {numbers['threads']} threads; {rate}")
    print("what       kind          loops   ms/step   tokens/s   GFLOPs   of peak   kept MB")
    for row in numbers["rows"]:
        text = f"{row['what']:<10} {row['kind']:<13} {row['loops']:>5} {row['ms']:>9.1f}"
        text += f" {row['tokens_a_second']:>10,.0f}"
        if "flops" in row:
            text += f" {row['flops'] / 1e9:>8.2f} {row['share_of_peak']:>9.2f}"
        else:
            text += f" {'-':>8} {'-':>9}"
        print(f"{text} {row['memory'] / 1e6:>9.1f}" if "memory" in row else text)
    sampled = numbers["sampled"]
    with_twins = sampled["sampled"] / sampled["fixed"]
    plain = sampled["sampled, plain"] / sampled["fixed, plain"]
    text = f"{with_twins:.2f} of the time of 8 for all (plain {plain:.2f})"
    print(f"sampled loops, 8 on average: {text}")
    generation = dict(numbers["generation"])
    lengths = ", ".join(map(str, generation.pop("lengths")))
    each = []
    for policy, times in generation.items():
        each.append(f"{policy} {', '.join(f'{ms:.1f}' for ms in times)}")
    print(f"one more token behind {lengths} (ms): {'; '.join(each)}")


def main(runs, args):
    folder = runs[0]
    folder.mkdir(parents=True, exist_ok=True)
    generator, shape = torch.Generator().manual_seed(0), (2, SIZE, LENGTH)
    random = torch.randint(SHAPE.vocab_size, shape, generator=generator)
    tokens, targets = random.to(args.device)
    batch, kinds = Batch(tokens, targets, None), list(KINDS)
    if "compiled" in kinds and not compiler_works(batch, SHAPE):
        kinds.remove("compiled")
    peak = measure_peak(batch, SHAPE)
    rows = measure_passes(kinds, batch, SHAPE, REPEATS, peak)
    sampled = measure_sampled(batch, SHAPE, REPEATS)
    model = make_model("looped", 8, args.device, SHAPE)
    generation = measure_generation(model, 8, LENGTHS, 3 * REPEATS)
    numbers = dict(
        shape=dataclasses.asdict(SHAPE),
        batch=[SIZE, LENGTH],
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=str(args.device),
        peak_gflops_a_second=peak / 1e6,
        seeds=[0],
        rows=rows,
        sampled=sampled,
        generation=dict(lengths=list(LENGTHS), **generation),
    )
    say_bench(numbers)
    write(folder, "bench", draw_bench(numbers), numbers)
