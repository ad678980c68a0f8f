"""
README.md of this folder: the table of all papers, from the JSON under results/papers/. `python papers/table.py`
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# The papers, each as one small file beside the loop

Each file is the difference to [looped.py](../looped.py): a subclass of `LoopedGPT` that overrides what its paper
changes, and a `main` that trains what the claim needs, with a control that could refute it. `python papers/NAME.py`
shows the claim on three seeds (`--seeds 20` on one), `python train.py --model NAME --task TASK` trains the model on any
task. `make papers` runs them all, and goes on where it stopped. What is only a matter of settings is a preset in
[recipes.py](../recipes.py): `--preset` kohli, saunshi, huginn, parcae or discoloop. [experiment.py](experiment.py) is
what the files share; [gru.py](gru.py), a recurrent net, is a control of [RESULTS.md](../RESULTS.md).

This page is written by `python papers/table.py` from [results/papers](../results/papers). Medians of the seeds, ranges
in brackets; minutes are of one seed on one thread. "Theirs" is at their size, "ours" at one that takes minutes.

| file | what changes in the loop | claim | theirs | ours | verdict | minutes | picture |
|---|---|---|---|---|---|---|---|
"""


def row(numbers):
    name, seeds = numbers["name"], len(numbers["seeds"])
    paper = f"[{name}]({name}.py): [{numbers['title']}](https://arxiv.org/abs/{numbers['arxiv']})"
    ours = f"{numbers['ours']} ({seeds} seeds)" + (f"; {numbers['note']}" if numbers["note"] else "")
    minutes = max(found["minutes"] for found in numbers["by_seed"])
    picture = f"[picture](../results/papers/{name}/{name}.png)"
    cells = (paper, numbers["changes"], numbers["claim"], numbers["theirs"], ours, numbers["verdict"], minutes, picture)
    return "| " + " | ".join(str(cell).replace("|", "/").replace("; ", "<br>") for cell in cells) + " |"


def text():
    paths = sorted((ROOT / "results/papers").glob("*/*.json"))
    judged = {path.stem for path in paths}
    files = sorted(path.stem for path in (ROOT / "papers").glob("*.py") if "\nPAPER = " in path.read_text())
    waiting = ", ".join(f"[{name}]({name}.py)" for name in files if name not in judged)
    rows = "\n".join(row(json.loads(path.read_text())) for path in paths)
    return HEAD + rows + (f"\n\nNot run on three seeds yet, so without a verdict: {waiting}." if waiting else "") + "\n"


if __name__ == "__main__":
    (ROOT / "papers/README.md").write_text(text())
