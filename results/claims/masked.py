"""
A model of multi-hop with --position relative, whose far tokens are hidden at test: is it depth that
ends at 36 hops, or attention that leaks?

    python results/claims/masked.py runs/relative80 runs/relative81 runs/relative82

The last bias of position="relative" is that of all distances of reach - 1 or more; minus infinity
hides these tokens. Writes results/claims/masked.json: accuracy on 500 test questions after 1.25
loops a hop, chosen by nobody.
"""

import json
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from train import load_model  # noqa: E402 (after the path is set)

HOPS = (6, 12, 24, 36, 48, 96)


@torch.no_grad()
def accuracies(model, task):
    result = {}
    for hops in HOPS:
        batch = task.batch("test", 0, 500, hops)
        result[hops] = (
            task.check(batch, model(batch.tokens, hops * 5 // 4 + 4).argmax(-1))
            .float()
            .mean()
            .item()
        )
    return result


numbers = dict(seeds=[], seen=[], hidden=[])
for run in sys.argv[1:]:
    model, task, flags = load_model(run)
    numbers["seeds"].append(flags.seed)
    numbers["seen"].append(accuracies(model, task))
    model.positions.bias.data[:, -1] = -torch.inf
    numbers["hidden"].append(accuracies(model, task))
print(json.dumps(numbers))
(ROOT / "results/claims/masked.json").write_text(json.dumps(numbers, indent=1) + "\n")
