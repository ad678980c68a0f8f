"""Each paper's file runs in small, from training to its picture; and the table says what the JSON says."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers import ROOT, paper

from train import load_model

NAMES = sorted(path.stem for path in (ROOT / "papers").glob("*.py") if "PAPER = Paper(" in path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_small(name, elsewhere, capsys, monkeypatch):
    monkeypatch.setattr("runs.draw_curve", lambda *_: None)  # half of the time of a training of three steps
    experiment, module = paper("experiment"), paper(name)
    assert module.PAPER.name == name and module.__doc__.count(f"python papers/{name}.py") == 1
    lab = experiment.Lab(module.PAPER, seed=0, tiny=True, threads=1)
    found = [experiment.seed_of(lab, module.measure)]
    experiment.finish(module.PAPER, [0], found, module.judge, module.draw)
    assert module.PAPER.claim in capsys.readouterr().out
    numbers = json.loads(Path(f"runs/{name}/{name}.json").read_text())
    assert numbers["by_seed"] == found and Path(f"runs/{name}/{name}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", NAMES)
def test_as_a_script_it_finds_the_files_above(name):
    """experiment.py shows a script the folder above, so no import of our own may stand before it."""
    imports = re.findall(r"(?m)^(?:from|import) (\w+)", (ROOT / f"papers/{name}.py").read_text())
    ours = [module for module in imports if any((ROOT / folder / f"{module}.py").exists() for folder in ("", "papers"))]
    assert ours[0] == "experiment"


def test_what_was_trained_is_kept(elsewhere):
    experiment = paper("experiment")
    lab = experiment.Lab(paper("latent_thoughts").PAPER, seed=0, tiny=True, threads=1)
    model, _, _ = lab.train("a", task="multihop")
    before = (lab.folder / "a/checkpoint.pt").stat().st_mtime_ns
    again, _, flags = lab.train("a", task="multihop")
    assert (lab.folder / "a/checkpoint.pt").stat().st_mtime_ns == before and flags.seed == 0
    assert all((one == two).all() for one, two in zip(model.parameters(), again.parameters()))
    with pytest.raises(SystemExit):
        lab.train("a", task="multihop", hops=3)
    load_model(lab.folder / "a")


def test_what_was_interrupted_is_not_measured(elsewhere, capsys):
    lab = paper("experiment").Lab(paper("latent_thoughts").PAPER, seed=0, tiny=True, threads=1)
    with pytest.raises(SystemExit):
        lab.train("a", task="multihop", minutes=1e-9)  # stops after a step, and saves
    assert "was interrupted" in capsys.readouterr().err
    _, _, flags = lab.train("a", task="multihop")
    assert flags.steps == 3 and "stopped at step" not in capsys.readouterr().err


def test_a_verdict_in_parts():
    in_parts = paper("experiment").in_parts
    assert in_parts({"this": True, "that": True}) == "reproduced"
    assert in_parts({"this": False, "that": False}) == "not reproduced (this: no, that: no)"
    assert in_parts({"this": False, "that": True}) == "depends (this: no, that: yes)"
    assert in_parts({"this": False, "that": True}, needed=1) == "not reproduced (this: no, that: yes)"
    assert in_parts({"this": True, "that": None}) == "depends (this: yes, that: not tested)"
    assert in_parts({"this": True, "that": False}, needed=1) == "depends (this: yes, that: no)"


def test_the_table_is_that_of_the_numbers():
    table = paper("table")
    assert (ROOT / "papers/README.md").read_text() == table.text()


@pytest.mark.parametrize("path", sorted((ROOT / "results/papers").glob("*/*.json")), ids=lambda path: path.stem)
def test_the_verdict_is_that_of_the_numbers(path):
    module, numbers = paper(path.stem), json.loads(path.read_text())
    assert [numbers["ours"], numbers["verdict"]] == [*module.judge(numbers["by_seed"])]
    assert asdict(module.PAPER).items() <= numbers.items() and len(numbers["by_seed"]) == len(numbers["seeds"]) >= 3
