"""
Relaxed Recursive Transformers: Effective Parameter Sharing with Layer-wise LoRA (Bae et al. 2025, arXiv 2410.20672)

Somebody has trained a stack of different layers, and it is too large. Can it become a loop? Let each shared layer be
the mean of those that it replaces (`average`), or one of the stack (`stepwise`), and train on for a little. What is
lost is that the loops differ; a low-rank matrix for each loop, what changes in the loop, gives some of it back:

    W + B_t A_t        of rank r; it starts as near to the stack's own matrix of loop t as rank r can come (by SVD)

    python train.py --model relaxed_recursive --rank 4 --start runs/STACK ...      STACK: an untied run, --norm pre
    python papers/relaxed_recursive.py          6 minutes a seed on one thread
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from experiment import COLORS, Paper, between, in_parts, median, run_paper
from torch import nn
from torch.func import functional_call

from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT
from train import load_model

NORMS = {"attention.qkv": "before_attention", "attention.out": None, "mlp.0": "before_mlp", "mlp.2": None}
MATRICES = {f"{name}.weight": norm for name, norm in NORMS.items()}  # of a block, and the norm in front of each
PAPER = Paper(
    name="relaxed_recursive",
    title="Relaxed Recursive Transformers (Bae et al. 2025)",
    arxiv="2410.20672",
    changes="a low-rank matrix for each loop; weights can come from a trained stack",
    claim="a stack becomes a loop in few steps: better than from scratch, and with LoRA nearly as good as the stack",
    theirs="Gemma 2B as a loop of 1B recovers most of its accuracy, and is better than models of 1B",
    note="6 layers become 2 that are looped 3 times. Parameters: the stack 297,676, the loop 100,556, with rank 4 "
    "125,132, with 16 198,860. From scratch the loop has no curriculum in its few steps; with one, and with as many "
    "steps as the stack and the conversion together, it is as good as the stack",
)


@dataclass
class RelaxedConfig(Config):
    rank: int = 4  # of what each loop adds to each matrix
    start: str = ""  # the folder of an untied run with as many layers, to start from its weights (keep it)
    shared: str = "average"  # what the shared layers start as: average | stepwise, the first, the last, some between

    def __post_init__(self):
        super().__post_init__()
        if self.rank < 0 or not self.tied or self.shared not in ("average", "stepwise"):
            raise ValueError("relaxed_recursive is tied, with a rank of at least 0, and shared=average or stepwise")


class RelaxedGPT(LoopedGPT):
    config_class = RelaxedConfig

    def __init__(self, config):
        super().__init__(config)
        self.up, self.down = nn.ParameterList(), nn.ParameterList()  # B and A of each of MATRICES, of all loops
        for name in MATRICES if config.rank else ():
            rows, columns = self.core[0].get_parameter(name).shape
            self.up.append(torch.zeros(config.loops, config.n_core, rows, config.rank))
            self.down.append(torch.randn(config.loops, config.n_core, config.rank, columns) * columns**-0.5)
        if config.start:
            self.convert(load_model(config.start)[0])

    def core_pass(self, h, t, where, cache=None):
        row = min(t, self.config.loops - 1)  # beyond the loops of training: the matrices of the last one
        for i, block in enumerate(self.core):
            pairs = zip(MATRICES, self.up, self.down)
            weights = {name: block.get_parameter(name) + up[row, i] @ down[row, i] for name, up, down in pairs}
            h = functional_call(block, weights, (h, where, cache, ("core", t, i)))
        return h

    @torch.no_grad()
    def convert(self, stack):
        """Take over the weights of a stack: layer t * n_core + i becomes the shared layer i in loop t."""
        n, loops = self.config.n_core, self.config.loops
        if len(stack.core) != n * loops or {stack.config.norm, self.config.norm} != {"pre"}:
            raise ValueError(f"--start needs an untied run of {n * loops} layers, and --norm pre for both")
        kept = {name: value for name, value in stack.state_dict().items() if not name.startswith("core.")}
        self.load_state_dict(kept, strict=False)
        for block in self.core:
            for norm in (block.before_attention, block.before_mlp):
                norm.weight.fill_(1)  # each layer's own gain moves into the matrix behind it
        chosen = np.linspace(0, n * loops - 1, n).round().astype(int)  # the first, the last, and some between
        for m, (name, norm) in enumerate(MATRICES.items()):
            gains = [block.get_parameter(f"{norm}.weight") if norm else 1 for block in stack.core]
            layers = [block.get_parameter(name) * gain for block, gain in zip(stack.core, gains)]
            for i, block in enumerate(self.core):
                same, shared = torch.stack(layers[i::n]), block.get_parameter(name)  # same: (loops, rows, columns)
                shared.copy_(same.mean(0) if self.config.shared == "average" else layers[chosen[i]])
                if self.config.rank:
                    u, s, v = torch.linalg.svd(same - shared, full_matrices=False)
                    r = slice(min(self.config.rank, s.shape[-1]))
                    self.up[m][:, i, :, r], self.down[m][:, i, r] = u[..., r] * s[:, None, r], v[:, r]


# -----------------------------------------------------------------------------
# The claim

HOPS, RANKS, FEW, MANY = 4, (0, 4, 16), 300, 3000
ALL = dict(task="multihop", hops=HOPS, n_core=2, loops=3, sampler="fixed", injection="none", norm="pre", reembed=False)
ON = dict(model="relaxed_recursive", steps=FEW, curriculum=False)  # the hard questions at once
LONG = {"stack, all steps": False, "scratch, all steps": True}  # tied? What as many steps in one go give
KINDS = ("average", "stepwise", "scratch", "at once")


def measure(lab):
    stack, task, _ = lab.train("stack", **ALL, tied=False, steps=MANY)
    models = {"stack": stack}
    for rank in RANKS:
        models[f"scratch, {rank}"], _, _ = lab.train(f"scratch_{rank}", **ALL, **ON, rank=rank)
        for shared in ("average", "stepwise"):
            flags = ALL | ON | dict(rank=rank, shared=shared, start=str(lab.folder / "stack"))
            models[f"{shared}, {rank}"], _, _ = lab.train(f"{shared}_{rank}", **flags)
        models[f"at once, {rank}"] = copy.deepcopy(models[f"average, {rank}"])
        models[f"at once, {rank}"].convert(stack)  # what it was before it was trained on
    for name, tied in LONG.items():
        models[name], _, _ = lab.train(name.replace(", ", "_").replace(" ", "_"), **ALL, tied=tied, steps=MANY + FEW)
    return {name: lab.by_loop(model, task, HOPS, ALL["loops"])[-1] for name, model in models.items()}


def judge(found):
    at = {name: median(found, name) for name in found[0]}
    plain, few, most = (max(at[f"average, {rank}"], at[f"stepwise, {rank}"]) for rank in RANKS)
    checks = {
        "the stack has learned": at["stack, all steps"] > 0.8,
        "better than from scratch in the same steps": plain > at["scratch, 0"] + 0.02
        and most > at[f"scratch, {RANKS[-1]}"] + 0.02,
        f"rank {RANKS[2]} helps": most > plain + 0.02,
        f"rank {RANKS[1]} helps": few > plain + 0.02,
        "nearly as good as the stack": most > at["stack, all steps"] - 0.05,
    }
    parts = [f"{kind} {' / '.join(between(found, f'{kind}, {rank}') for rank in RANKS)}" for kind in KINDS]
    ends = ", ".join(f"{name} {between(found, name)}" for name in ("stack", *LONG))
    ours = f"{HOPS} hops, {FEW} steps, rank {RANKS}: {'; '.join(parts)}; {ends}"
    return ours, in_parts(checks) if all(list(checks.values())[:2]) else "not reproduced"


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4.5), layout="constrained")
    for kind, color, style in zip(KINDS, (*COLORS[1:4], COLORS[1]), ("-", "-", "-", ":")):
        axis.plot([median(found, f"{kind}, {rank}") for rank in RANKS], color=color, ls=style, label=kind)
        axis.plot([[seed[f"{kind}, {rank}"] for seed in found] for rank in RANKS], ".", color=color)
    for name, style, color in zip(LONG, ("-", "--"), (COLORS[0], COLORS[3])):
        axis.axhline(median(found, name), color=color, ls=style, label=name)
    axis.set(xlabel="rank of what each loop adds", ylabel=f"accuracy at {HOPS} hops (test)", ylim=(-0.03, 1.05))
    axis.set_xticks(range(len(RANKS)), RANKS)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    said = ", ".join(f"{kind} {median(found, f'{kind}, {RANKS[-1]}'):.2f}" for kind in KINDS[:3])
    figure.suptitle(
        f"6 layers made 2, looped 3 times, in {FEW} steps, rank {RANKS[-1]}: {said} ({seeds_text(len(found))})", size=10
    )
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
