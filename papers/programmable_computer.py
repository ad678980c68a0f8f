"""
Looped Transformers as Programmable Computers (Giannou et al. 2023, arXiv 2301.13196)

What can a loop compute? Whatever a computer can. Nothing is trained here: the weights are written by hand (machine.py
beside this file), and each loop executes one instruction of a machine that has no other. It is enough for any program:

    SUBLEQ a b c        mem[b] -= mem[a]; if the result is <= 0 go to c, otherwise to the instruction behind this one

Each token is a cell of the memory. A program stops by jumping to where it is, a fixed point of the loop: `solve` sees
it. What changes in the loop: nothing. `begin` gives each cell its address in bits, and the blocks are ours, pre-norm
with GELU. (The paper has ReLU, no norm, a scratchpad apart, and program and data apart.) It is no model for train.py.

    python papers/programmable_computer.py          1 minute a seed on one thread
"""

import math

import torch
from experiment import COLORS, Paper, between, median, run_paper
from machine import Computer, ComputerConfig
from subleq import PROGRAMS, assemble, interpret

from figures import GREY, WIDTH, plt, seeds_text

PAPER = Paper(
    name="programmable_computer",
    title="Looped Transformers as Programmable Computers (Giannou et al. 2023)",
    arxiv="2301.13196",
    changes="nothing: weights written by hand, one instruction a loop; `begin` adds addresses in bits",
    claim="a few fixed layers, looped, run any program that fits the memory",
    theirs="a small instruction set in 13 layers, by construction",
    note="3 layers for one instruction; program and data in one memory; words of 8 bits (of 12, float32 keeps three "
    "quarters of the programs exact for 100 steps). Controls: a softer attention, fewer digits, words never mended",
)
BITS, CELLS = 8, 32  # of a word, of the memory
SHARPNESS = (2, 4, 6, 8, 10, 12, 16)  # nats
WORDS = (4, 6, 8, 10, 12)  # bits
PRECISIONS = ("float32", "float16", "bfloat16")


@torch.no_grad()
def exact_steps(model, words):
    """(steps + 1, B) bool: is every word, and the counter in every cell, as interpreted? And the distinct states."""
    steps, bits = model.config.loops, model.config.word_bits
    runs = list(zip(*(interpret(row, bits, steps) for row in words.tolist())))
    exact = []
    for h, should in zip(model.states(words), runs):
        counter, memory = (torch.tensor(part) for part in zip(*should))
        same = (model.number(h.float(), "word") == memory) & (model.number(h.float(), "pc") == counter[:, None])
        exact.append(same.all(1))
    distinct = [len({(counter, *memory) for counter, memory in run}) for run in zip(*runs)]
    return torch.stack(exact).cummin(0).values, distinct


def build(cells=CELLS, bits=BITS, **settings):
    return Computer(ComputerConfig(vocab_size=2**bits, block_size=cells, **settings))


def measure(lab):
    lab.folder.mkdir(parents=True, exist_ok=True)
    many, few, long, short = (4, 4, 6, 4) if lab.tiny else (200, 50, 300, 100)  # programs and steps
    random = torch.Generator().manual_seed(lab.seed)
    found = dict(ran={}, sharpness=[], precision={}, loops=long)
    for name, (text, wanted) in PROGRAMS.items():
        words, names = assemble(text, 128, BITS)
        logits, loops = build(128).solve(words[None], threshold=1e-4, max_loops=256)
        right = all(logits.argmax(-1)[0, names[each]] == value % 2**BITS for each, value in wanted.items())
        found["ran"][name] = [bool(right), int(loops)]
    h = build(128).trajectory(words[None], int(loops))[:, 0].detach()  # of the last of these programs
    word = (build(128).number(h, "word") + 2 ** (BITS - 1)) % 2**BITS - 2 ** (BITS - 1)  # with a sign
    found["trace"] = {each: word[:, names[each]].tolist() for each in wanted}
    found["counter"] = build(128).number(h, "pc")[:, 0].tolist()
    words = torch.randint(2**BITS, (many, CELLS), generator=random)
    exact, distinct = exact_steps(build(loops=long), words)
    never, _ = exact_steps(build(loops=long, mend=False), words)
    found.update(exact=exact[-1].float().mean().item(), distinct=sum(distinct) / many)
    found.update(by_step=exact.float().mean(1).tolist(), unmended_by_step=never.float().mean(1).tolist())
    for sharpness in SHARPNESS:
        soft, _ = exact_steps(build(loops=short, sharpness=sharpness), words[:few])
        found["sharpness"].append(soft[-1].float().mean().item())
    for precision in PRECISIONS:
        found["precision"][precision] = []
        for bits in WORDS:
            model = build(16, bits, loops=short).to(getattr(torch, precision))
            exact, _ = exact_steps(model, torch.randint(2**bits, (few, 16), generator=random))
            found["precision"][precision].append(exact[-1].float().mean().item())
    return found


def judge(found):
    ran = all(right for seed in found for right, _ in seed["ran"].values())
    always = all(seed["exact"] == 1 for seed in found)
    breaks = all(seed["sharpness"][0] < 0.5 for seed in found)  # a test that a wrong machine fails, too
    loops = ", ".join(f"{name} {'' if right else 'WRONG '}in {n} loops" for name, (right, n) in found[0]["ran"].items())
    ours = f"{loops}; random programs exact for {found[0]['loops']} steps: {between(found, 'exact', 3)}"
    ours += f" ({median(found, 'distinct'):.0f} different states each)"
    return ours, "reproduced" if ran and always and breaks else "not reproduced"


def draw(found):
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.5), layout="constrained")
    run, steps, soft, digits = axes.flatten()
    run.step(range(len(found[0]["counter"])), found[0]["counter"], color=GREY, where="post", label="program counter")
    run.set(
        xlabel="loops", ylabel="program counter (cell)", title=f"The program sort: {len(found[0]['counter']) - 1} loops"
    )
    numbers = run.twinx()
    for (name, values), color in zip(found[0]["trace"].items(), COLORS[1:]):
        numbers.step(range(len(values)), values, color=color, where="post", lw=2, label=name)
    numbers.set(ylabel="the numbers x, y, z")
    numbers.legend(loc="lower left", bbox_to_anchor=(0, 0.12))
    for seed in found:
        steps.plot(seed["by_step"], color=COLORS[1], label="words mended in each loop")
        steps.plot(seed["unmended_by_step"], color=COLORS[3], ls="--", label="never mended: errors add up")
        soft.plot(SHARPNESS, seed["sharpness"], "o-", color=COLORS[1])
        for precision, color, marker in zip(PRECISIONS, COLORS[1:], "osv"):
            digits.plot(WORDS, seed["precision"][precision], f"{marker}-", color=color, label=precision)
    # with p bits in an address p exp(-lead) of each bit leaks, and a difference of w bits adds 2^(w + 1) of such leaks
    needed = math.log(math.log2(CELLS) * 2 ** (BITS + 1) / 0.25)  # so that less than the 0.25 of a step leaks
    soft.axvline(needed, color=GREY, ls=":", label=f"needed by the formula: {needed:.1f}")
    soft.legend(loc="lower right", fontsize=8)
    steps.set(xlabel="loops, an instruction each", title="Random programs")
    soft.set(xlabel="attention: lead of the right cell (nats)", title="A softer attention, 100 loops")
    digits.set(xlabel="bits of a word", title="Fewer digits, 100 loops")
    for axis in (steps, soft, digits):
        axis.set(ylabel="share of programs still exact", ylim=(-0.03, 1.05))
    for axis in (steps, digits):
        handles, labels = axis.get_legend_handles_labels()
        place = dict(loc="center left", bbox_to_anchor=(0, 0.4))
        axis.legend(handles[: len(labels) // len(found)], labels[: len(labels) // len(found)], **place)
    share = f"{median(found, 'exact'):.1%} of random programs exact for {found[0]['loops']} steps"
    figure.suptitle(f"Three hand-written layers, looped: {share} ({seeds_text(len(found))})", size=12)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
