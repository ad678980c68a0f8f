"""
MobileLLM: Optimizing Sub-billion Parameter Language Models for On-Device Use Cases (Liu et al. 2024, arXiv 2402.14905)

A phone spends its time on fetching weights from memory, not on products. If a layer is to be used more than once, then
better at once, while its weights are in the cache: A A B B. A loop around both layers, A B A B, costs the same products
and fetches each layer again. Does the order matter for what the model learns? The paper says hardly.

What changes in the loop: it runs each layer of the core `repeats` times in a row. With the same layers and as many
applications of each: loops=4, repeats=1 is A B A B A B A B; 2 and 2: A A B B A A B B; 1 and 4: A A A A B B B B.

    python papers/mobile.py          9 to 12 minutes a seed on one thread
"""

import time
from dataclasses import dataclass

import torch
from experiment import COLORS, Paper, between, draw_bars, in_parts, median, run_paper

from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT

PAPER = Paper(
    name="mobile",
    title="MobileLLM (Liu et al. 2024)",
    arxiv="2402.14905",
    changes="each layer of the core runs several times in a row: A A B B instead of A B A B",
    claim="running each layer twice in a row is better than once, and costs little time where weights are out of cache",
    theirs="+0.7 and +0.8 points over each layer once (125M, 350M); the order A A B B is chosen for the cache",
    note="2 layers, each 4 times; without injection, which A B A B would get more often. 4 hops in the text stay at "
    "chance in 1,000 steps, whatever the order (seed 20)",
)


@dataclass
class MobileConfig(Config):
    repeats: int = 1  # how often each layer of the core runs in a row

    def __post_init__(self):
        super().__post_init__()
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")


class MobileGPT(LoopedGPT):
    config_class = MobileConfig

    def run_layers(self, layers, h, where, cache=None, part="core", t=0):
        if part == "core":
            layers = [block for block in layers for _ in range(self.config.repeats)]
        return super().run_layers(layers, h, where, cache, part, t)


# -----------------------------------------------------------------------------
# The claim

ORDERS = {
    "AB": dict(loops=1, repeats=1),
    "ABABABAB": dict(loops=4, repeats=1),
    "AABBAABB": dict(loops=2, repeats=2),
    "AAAABBBB": dict(loops=1, repeats=4),
}
STACK = "8 layers"
QUESTIONS = {
    "hops by heart": dict(task="multihop", steps=1500, curriculum=False),
    "hops in the text": dict(task="phop", position="alibi", n_prelude=0, batch=32, steps=1200, gate=0.5),
}
ALL = dict(model="mobile", injection="none", norm="pre", reembed=False, sampler="fixed", hops=3)
LAYERS = 4  # of the models whose time is taken: A B C D
WIDTHS = (64, 128, 256, 384, 512)  # of 12 MB a layer at most, and 50 MB together; a cache has about 32


def measure(lab):
    found = {}
    for question, of_task in QUESTIONS.items():
        for order, of_model in {**ORDERS, STACK: dict(loops=8, tied=False)}.items():
            flags = ALL | dict(n_core=1 if order == STACK else 2) | of_task | of_model
            model, task, _ = lab.train(f"{question} {order}".replace(" ", "_"), **flags)
            found[f"{question}, {order}"] = lab.by_loop(model, task, task.max_difficulty, model.config.loops)[-1]
    for width in WIDTHS[:2] if lab.tiny else WIDTHS:
        found[f"megabytes {width}"], found[f"time {width}"] = time_of_orders(width, turns=3 if lab.tiny else 60)
    return found


@torch.no_grad()
def time_of_orders(width, turns):
    """Megabytes of the core; the time of ABCD four times over that of AAAABBBBCCCCDDDD, for one token, in turns."""
    models = []
    for loops, repeats in ((4, 1), (1, 4)):
        config = MobileConfig(vocab_size=64, block_size=1, n_embd=width, n_core=LAYERS, loops=loops, repeats=repeats,
                              injection="none", norm="pre", position="none")  # fmt: skip
        models.append(MobileGPT(config))
    models[1].load_state_dict(models[0].state_dict())
    seconds, token = ([], []), torch.zeros(1, 1, dtype=torch.long)
    for _ in range(turns):
        for model, list_of in zip(models, seconds):
            began = time.perf_counter()
            model(token)
            list_of.append(time.perf_counter() - began)
    megabytes = sum(p.numel() for p in models[0].core.parameters()) * 4e-6
    return megabytes, min(seconds[0]) / min(seconds[1])  # the fastest: what else runs on the machine only adds time


def judge(found):
    checks, parts = {"A A B B saves time": median(found, f"time {measured(found)[-1]}") > 1.05}, []
    for question in QUESTIONS:
        once, loop, rows, _ = (median(found, f"{question}, {order}") for order in ORDERS)
        checks[f"{question}: better than once"] = rows > once + 0.01
        checks[f"{question}: as good as A B A B"] = rows > loop - 0.01
        accuracies = (f"{order} {between(found, f'{question}, {order}')}" for order in (*ORDERS, STACK))
        parts.append(f"{question}: {', '.join(accuracies)}")
    times = (f"{found[0][f'megabytes {w}']:.1f} MB {between(found, f'time {w}')}" for w in measured(found))
    verdict = in_parts(checks)
    if not any(holds for name, holds in checks.items() if name.endswith("once")):
        verdict = "not reproduced: A A B B does no more than A B"
    return f"{'; '.join(parts)}; time of ABCD x 4 over AAAABBBBCCCCDDDD: {', '.join(times)}", verdict


def measured(found):
    return [width for width in WIDTHS if f"time {width}" in found[0]]


def draw(found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), width_ratios=(3, 2), layout="constrained")
    draw_bars(left, found, QUESTIONS, [*ORDERS, STACK])
    left.set(ylabel="accuracy (test)", ylim=(0, 1.05))
    left.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.25), fontsize=9)
    for seed in found:
        right.plot(
            [seed[f"megabytes {w}"] for w in measured(found)], [seed[f"time {w}"] for w in measured(found)], "k."
        )
    middle = [median(found, f"time {w}") for w in measured(found)]
    right.plot([median(found, f"megabytes {w}") for w in measured(found)], middle, color=COLORS[1])
    right.axhline(1, color=COLORS[0], ls=":")
    right.set(xscale="log", xlabel="weights of the loop (MB)", ylabel="time of ABCDABCD.. / AAAABBBB..")
    title = f"Out of the cache, A B A B takes {middle[-1]:.2f} times as long as A A B B"
    figure.suptitle(f"{title} ({seeds_text(len(found))})", size=12)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
