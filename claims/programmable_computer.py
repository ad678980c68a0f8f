"""
Looped Transformers as Programmable Computers (Giannou et al. 2023, arXiv 2301.13196)

The model, a machine whose weights are written by hand, is papers/programmable_computer.py;
subleq.py has its language and an interpreter. Do three programs and random ones run exactly as
interpreted? Controls that have to fail: a softer attention, fewer digits, words that are never
mended.

    python -m claims.programmable_computer --seeds 40 41 42 43 44    2 minutes a seed on one thread
"""

import math

import torch

from claims.experiment import Claim, mean, run_claim
from claims.parts import reaches
from claims.rows import COLORS
from claims.subleq import PROGRAMS, assemble, interpret
from papers.programmable_computer import Computer, ComputerConfig
from support.figures import GREY, WIDTH, plt

CLAIM = Claim(
    name="programmable_computer",
    title="Looped Transformers as Programmable Computers (Giannou et al. 2023)",
    arxiv="2301.13196",
    changes="nothing: weights written by hand, one instruction a loop; `begin` adds addresses in "
    "bits",
    claim="a few fixed layers, looped, run any program that fits the memory",
    theirs="this machine (SUBLEQ) in 9 layers of 2 heads; 13 for wider ones, with functions and "
    "matrices; by construction",
    falls="one of the three programs differs from the interpreter by a bit, or one in a hundred of "
    "the random programs does",
    tried="nothing is trained; sharper and softer attention, fewer digits",
    note="3 layers for one instruction; program and data in one memory; 200 random programs on "
    "each seed, which go through so many different states in 300 steps; words of 8 bits (of 12, "
    "float32 keeps three quarters of the programs exact for 100 steps). Controls: a softer "
    "attention, fewer digits, words never mended",
)
BITS, CELLS = 8, 32  # of a word, of the memory
SHARPNESS = (2, 4, 6, 8, 10, 12, 16)  # nats
WORDS = (4, 6, 8, 10, 12)  # bits
PRECISIONS = ("float32", "float16", "bfloat16")
MENDED, NEVER = "words mended in each loop", "never mended"


def build(cells=CELLS, bits=BITS, **settings):
    return Computer(ComputerConfig(vocab_size=2**bits, cells=cells, **settings))


@torch.no_grad()
def exact_steps(model, words):
    """
    (steps + 1, B) bool: is every word, and the counter in every cell, as interpreted so far? And
    how many distinct states the interpreter went through, [B].
    """
    steps, bits = model.config.loops, model.config.word_bits
    runs = [list(interpret(row, bits, steps)) for row in words.tolist()]
    exact = []
    for t, h in enumerate(model.states(words)):
        memory = torch.tensor([run[t][1] for run in runs])
        counter = torch.tensor([run[t][0] for run in runs])[:, None]
        same = (model.number(h.float(), "word") == memory).all(1)
        exact.append(same & (model.number(h.float(), "pc") == counter).all(1))
    distinct = [len({(counter, *memory) for counter, memory in run}) for run in runs]
    return torch.stack(exact).cummin(0).values, distinct


def measure(lab):
    lab.folder.mkdir(parents=True, exist_ok=True)
    many, few, long, short = (4, 4, 6, 4) if lab.tiny else (200, 50, 300, 100)  # programs, steps
    random = torch.Generator().manual_seed(lab.seed)
    for name, (text, wanted) in PROGRAMS.items():
        words, names = assemble(text, 128, BITS)
        logits, loops = build(128).solve(words[None], threshold=1e-4, max_loops=256)
        memory = logits.argmax(-1)[0]
        right = all(memory[names[each]] == value % 2**BITS for each, value in wanted.items())
        yield dict(program=name, right=right, loops=int(loops))

    machine = build(128)
    h = machine.trajectory(words[None], int(loops))[:, 0].detach()  # of the last of these programs
    for name in wanted:
        word = machine.number(h, "word")[:, names[name]]
        signed = (word + 2 ** (BITS - 1)) % 2**BITS - 2 ** (BITS - 1)
        yield dict(trace=name, by_loop=signed.tolist())
    yield dict(trace="program counter", by_loop=machine.number(h, "pc")[:, 0].tolist())

    words = torch.randint(2**BITS, (many, CELLS), generator=random)
    for machine, mend in {MENDED: True, NEVER: False}.items():
        exact, distinct = exact_steps(build(loops=long, mend=mend), words)
        exact = exact.float().mean(1).tolist()
        states = sum(distinct) / many
        yield dict(machine=machine, steps=long, exact=exact[-1], states=states, by_step=exact)
    for sharpness in SHARPNESS:
        soft, _ = exact_steps(build(loops=short, sharpness=sharpness), words[:few])
        yield dict(sharpness=sharpness, exact=mean(soft[-1]))
    for precision in PRECISIONS:
        for bits in WORDS:
            model = build(16, bits, loops=short).to(getattr(torch, precision))
            words = torch.randint(2**bits, (few, 16), generator=random)
            exact, _ = exact_steps(model, words)
            share = mean(exact[-1])
            yield dict(precision=precision, bits=bits, exact=share)


def judge(table):
    ran = [all(right) for right in zip(*(table.values("right", program=name) for name in PROGRAMS))]
    always = table.values("exact", machine=MENDED)
    soft = table.values("exact", sharpness=SHARPNESS[0])  # a wrong machine fails
    to = dict(weak=soft, learned={}, questions=0)
    parts = [
        reaches("three programs run", ran, 0.99, **to),
        reaches("random programs are exact", always, 0.99, **to),
    ]
    loops = table.tell(["program"], dict(loops=0))
    exact = table.tell(["steps"], dict(exact=3, states=0), machine=MENDED)
    ours = f"loops of programs: {loops}; share of random programs that are exact for {exact}"
    return f"{ours}; with a soft attention {table.said('exact', sharpness=SHARPNESS[0])}", parts


def draw(table):
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.5), layout="constrained")
    run, steps, soft, digits = axes.flatten()
    counter, *_ = table.values("by_loop", trace="program counter")
    run.step(range(len(counter)), counter, color=GREY, where="post", label="program counter")
    run.set(xlabel="loops", ylabel="program counter (cell)")
    run.set_title(f"The program sort: {len(counter) - 1} loops")
    numbers = run.twinx()
    for name, color in zip("xyz", COLORS[1:]):
        values, *_ = table.values("by_loop", trace=name)
        numbers.step(range(len(values)), values, color=color, where="post", lw=2, label=name)
    numbers.set(ylabel="the numbers x, y, z")
    numbers.legend(loc="lower left", bbox_to_anchor=(0, 0.12))

    never = f"{NEVER}: errors add up"
    table.curves(steps, "by_step", first=0, color=COLORS[1], label=MENDED, machine=MENDED)
    where = dict(machine=NEVER)
    table.curves(steps, "by_step", first=0, style="--", color=COLORS[3], label=never, **where)
    table.plot(soft, "sharpness", "exact", color=COLORS[1])
    for precision, color in zip(PRECISIONS, COLORS[1:]):
        where = dict(precision=precision)
        table.plot(digits, "bits", "exact", color=color, label=precision, **where)
    # with p bits in an address p exp(-lead) of each bit leaks, and a difference of w bits adds
    # 2^(w + 1) of such leaks; less than the 0.25 of a step may leak
    needed = math.log(math.log2(CELLS) * 2 ** (BITS + 1) / 0.25)
    soft.axvline(needed, color=GREY, ls=":", label=f"needed by the formula: {needed:.1f}")
    soft.legend(loc="lower right", fontsize=8)
    steps.set(xlabel="loops, an instruction each", title="Random programs")
    soft.set(xlabel="attention: lead of the right cell (nats)")
    soft.set_title("A softer attention, 100 loops")
    digits.set(xlabel="bits of a word", title="Fewer digits, 100 loops")
    for axis in (steps, soft, digits):
        axis.set(ylabel="share of programs still exact", ylim=(-0.03, 1.05))
    for axis in (steps, digits):
        axis.legend(loc="center left", bbox_to_anchor=(0, 0.4))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
