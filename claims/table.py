"""
Writes README.md of claims/ and of papers/: `python -m claims.table`. The first is made from the
JSON under results/papers/, the second from the first lines of each model.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CLAIMS = """# What the papers claim, measured in miniature

Each file measures the claim of one paper with a control that could refute it, on three seeds. It
has three functions: `measure` trains and yields rows of numbers, `judge` makes a verdict of them by
a rule that stands there in code, and `draw` a picture. The models are in
[papers/](../papers/README.md), a page each. What the files share is in
[experiment.py](experiment.py), the training, and [rows.py](rows.py), the table of numbers.

    python -m claims.ouro                  on seeds 20, 21, 22: runs/ouro/ouro.json and ouro.png
    python -m claims.ouro --seeds 20       on one seed
    make claims                            all of them, hours; it goes on where it stopped

This page is written by `python -m claims.table` from [results/papers](../results/papers). Minutes
are of one seed on one thread.

| claim of | numbers | what changes in the loop | claim | verdict | minutes |
|---|---|---|---|---|---|
"""

PAPERS = """# Models of the literature, each as the difference to looped.py

Each file is a subclass of `LoopedGPT` that overrides what its paper changes. It begins with what
the paper does, what is different here, and how it is used. `python train.py --model NAME --task
TASK` trains it on any task, with the flags of the paper beside those of the loop (`--help` shows
them). What is only a matter of settings is a preset: `--preset` kohli, saunshi, huginn, parcae or
discoloop ([recipes.py](../support/recipes.py)). Whether the claims of the papers hold is measured
in [claims/](../claims/README.md).

This page is written by `python -m claims.table` from the first lines of the files.

| model | of | what is different | command |
|---|---|---|---|
"""


def cells(*texts):
    return "| " + " | ".join(str(text).replace("|", "/") for text in texts) + " |\n"


# --------------------------------------------------------------------------------------------------
# claims/README.md


def claim_row(numbers):
    name = numbers["name"]
    minutes = max(found["minutes"] for found in numbers["by_seed"])
    links = (f"[{name}.py]({name}.py)", f"[ours](#{name})")
    return cells(*links, numbers["changes"], numbers["claim"], numbers["verdict"], minutes)


def claim_section(numbers):
    name, note, seeds = numbers["name"], numbers["note"], len(numbers["seeds"])
    first, *others = numbers["ours"].split("; ")
    what = ""
    if ": " in first and not any(": " in line for line in others):  # what all the numbers are
        what, first = first.split(": ", 1)
        what = f", {what}"
    lines = [
        f"## {name}",
        "",
        f"[{numbers['title']}](https://arxiv.org/abs/{numbers['arxiv']})",
        "",
        f"- Theirs: {numbers['theirs']}",
        f"- Ours, {seeds} seeds{what}:",
        *(f"  - {line}" for line in (first, *others)),
    ]
    if note:
        lines.append(f"- Where this is not the paper: {note}")
    return "\n".join([*lines, "", f"![{name}](../results/papers/{name}/{name}.png)", ""])


def claims_page():
    paths = sorted((ROOT / "results/papers").glob("*/*.json"))
    judged = [json.loads(path.read_text()) for path in paths]
    names = {numbers["name"] for numbers in judged}
    waiting = [name for name in names_of_claims() if name not in names]
    text = CLAIMS + "".join(claim_row(numbers) for numbers in judged)
    if waiting:
        links = ", ".join(f"[{name}]({name}.py)" for name in waiting)
        text += f"\nNot run on three seeds yet, so without a verdict: {links}.\n"
    text += "\n# Their numbers and ours\n\n"
    text += "Ours are medians of the seeds, with ranges in brackets.\n\n"
    return text + "\n".join(claim_section(numbers) for numbers in judged)


def names_of_claims():
    paths = sorted((ROOT / "claims").glob("*.py"))
    return [path.stem for path in paths if "\nCLAIM = Claim(" in path.read_text()]


# --------------------------------------------------------------------------------------------------
# papers/README.md


def model_row(path):
    text = path.read_text().split('"""')[1]
    title = " ".join(text.strip().split("\n\n")[0].split())
    different = re.search(r"What is different here: (.*?)(\n\n|$)", text, re.S)[1]
    first = re.split(r"(?<=\.)\s", different)[0].rstrip(".")  # its first sentence
    command = re.search(r"^    (python .*?)( {2,}.*)?$", text, re.M)[1].rstrip(" \\")
    return cells(f"[{path.name}]({path.name})", title, " ".join(first.split()), f"`{command}`")


def papers_page():
    paths = sorted((ROOT / "papers").glob("[!_]*.py"))
    return PAPERS + "".join(model_row(path) for path in paths)


if __name__ == "__main__":
    (ROOT / "claims/README.md").write_text(claims_page())
    (ROOT / "papers/README.md").write_text(papers_page())
