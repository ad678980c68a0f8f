"""
README.md of this folder: the table of all papers, from the JSON under results/papers/. `python papers/table.py`
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# The papers, each as one small file beside the loop

Each file is the difference to [looped.py](../looped.py): a subclass of `LoopedGPT` that overrides what its paper
changes, if it changes the loop, and a `main` that trains what the claim needs, with a control that could refute it.
`python papers/NAME.py` shows the claim on three seeds (`--seeds 20` on one); where the file has a model,
`python train.py --model NAME --task TASK` trains it on any task. `make papers` runs them all, and goes on where it
stopped. What is only a matter of settings is a preset in [recipes.py](../recipes.py): `--preset` kohli, saunshi,
huginn, parcae or discoloop. [experiment.py](experiment.py) is what the files share; [gru.py](gru.py), a recurrent net,
is a control of [RESULTS.md](../RESULTS.md).

This page is written by `python papers/table.py` from [results/papers](../results/papers). Verdicts are of the claim in
miniature, by a rule that stands in each file; the numbers behind them, and the paper's, are below. Minutes are of one
seed on one thread.

| file | numbers | what changes in the loop | claim | verdict | minutes |
|---|---|---|---|---|---|
"""


def row(numbers):
    name = numbers["name"]
    minutes = max(found["minutes"] for found in numbers["by_seed"])
    links = (f"[{name}.py]({name}.py)", f"[ours](#{name})")
    cells = (*links, numbers["changes"], numbers["claim"], numbers["verdict"], minutes)
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |\n"


def section(numbers):
    name, ours = numbers["name"], numbers["ours"].split("; ")
    lines = [f"## {name}", "", f"[{numbers['title']}](https://arxiv.org/abs/{numbers['arxiv']})", ""]
    head = ""
    if ": " in ours[0] and not any(": " in each for each in ours[1:]):  # what all of them are
        head, ours[0] = ours[0].split(": ", 1)
    lines += [f"- Theirs: {numbers['theirs']}", f"- Ours, {len(numbers['seeds'])} seeds{head and ', '}{head}:"]
    lines += [f"  - {each}" for each in ours]
    lines += [f"- Where this is not the paper: {numbers['note']}"] if numbers["note"] else []
    lines += ["", f"![{name}](../results/papers/{name}/{name}.png)", ""]
    return "\n".join(lines)


def text():
    paths = sorted((ROOT / "results/papers").glob("*/*.json"))
    found, judged = [json.loads(path.read_text()) for path in paths], {path.stem for path in paths}
    files = sorted(path.stem for path in (ROOT / "papers").glob("*.py") if "\nPAPER = " in path.read_text())
    waiting = ", ".join(f"[{name}]({name}.py)" for name in files if name not in judged)
    waiting = f"\nNot run on three seeds yet, so without a verdict: {waiting}.\n" if waiting else ""
    what = "\n# Their numbers and ours\n\nOurs are medians of the seeds, with ranges in brackets.\n\n"
    return HEAD + "".join(map(row, found)) + waiting + what + "\n".join(map(section, found))


if __name__ == "__main__":
    (ROOT / "papers/README.md").write_text(text())
