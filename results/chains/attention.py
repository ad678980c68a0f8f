"""
Where a model of chains looks: does it walk, or does it wait? Writes results/chains/attention.json
and attention.png.

    python results/chains/attention.py runs/chains20 runs/chains21 runs/chains22

For each loop, over 100 test questions of 12 edges: the attention of an edge on the edge that goes
on where it ends, of the question on the edge that begins at its name, and how many of the edges say
the end of their chain by then.
"""

import json
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from support.figures import WIDTH, plt  # noqa: E402 (after the path is set)
from train import load_model  # noqa: E402

EDGES, LOOPS = 12, 24


@torch.no_grad()
def attention_of(model, tokens):
    """
    The weights of the one head of the one layer (loops, B, T, T), and what each token says (loops,
    B, T).
    """
    weights, said = [], []

    def keep(layer, given, output):
        q, k, _ = layer.qkv(given[0]).chunk(3, dim=-1)
        weights.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1))

    hook = model.core[0].attention.register_forward_hook(keep)
    for h in model.states(tokens, LOOPS):
        said.append(model.readout(h).argmax(-1))
    hook.remove()
    return torch.stack(weights), torch.stack(said[1:])


def measure(model, task):
    batch = task.batch("test", 0, 100, EDGES)
    weights, said = attention_of(model, batch.tokens)
    source, target, asked = task.read(batch.tokens)
    n = source.shape[1]
    # [b, i, j]: does edge j begin where edge i ends?
    goes_on = (target[:, :, None] == source[:, None]).float()
    begins = (asked == source).float()  # [b, j]
    inner = goes_on.amax(2) > 0  # all edges but the last of each chain
    truth = task.truth(batch)
    right = (said == truth)[:, :, :n].float()
    found = dict(
        next_edge=[(w[:, :n, :n] * goes_on).sum(2)[inner].mean().item() for w in weights],
        first_edge=[(w[:, -1, :n] * begins).sum(1).mean().item() for w in weights],
        edges_right=[each[inner].mean().item() for each in right],
        question_right=[
            (each[:, -1] == batch.targets[:, -1]).float().mean().item() for each in said
        ],
    )
    order = task.order(batch.tokens[0])
    return found, weights[7, 0], weights[7, 0][order][:, order]


numbers = dict(seeds=[], by_seed=[])
for run in sys.argv[1:]:
    model, task, flags = load_model(run)
    found, in_text, in_order = measure(model, task)
    numbers["seeds"].append(flags.seed)
    numbers["by_seed"].append(found)
    if len(numbers["seeds"]) == 1:
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
        for axis, shown, order in zip(
            axes, (in_text, in_order), ("as it stands in the text", "sorted by chain, ends first")
        ):
            image = axis.imshow(shown, cmap="cividis", vmin=0, vmax=1)
            axis.set(
                xlabel="looks at",
                ylabel="edge, and last the question",
                title=order,
                xticks=[],
                yticks=[],
            )
        figure.colorbar(image, ax=axes, label="attention in loop 8")
        weight = found["next_edge"][7]
        figure.suptitle(
            f"Each edge looks at the next of its chain (mean weight {weight:.2f}); one question, "
            f"seed {flags.seed}"
        )
        figure.savefig(ROOT / "results/chains/attention.png", dpi=150)
(ROOT / "results/chains/attention.json").write_text(json.dumps(numbers, indent=1) + "\n")
print(json.dumps({key: value[0] for key, value in numbers["by_seed"][0].items()}))
