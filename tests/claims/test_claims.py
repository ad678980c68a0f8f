"""Each claim runs in small, from training to its picture; and the pages say what the JSON says."""

import importlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pytest
from helpers import ROOT

from claims import experiment, parts, table
from tasks import Sudoku
from train import load_model

NAMES = table.names_of_claims()
QUICK = ("coconut", "mano", "mixture_of_experts", "ouro", "programmable_computer")
COMMITTED = sorted((ROOT / "results/papers").glob("*/*.json"))


def each_claim():
    """All of them; those that take more than a few seconds are marked as slow."""
    for name in NAMES:
        yield pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)


def claim(name):
    return importlib.import_module(f"claims.{name}")


def small_lab(name="latent_thoughts"):
    return experiment.Lab(claim(name).CLAIM, seed=0, tiny=True, threads=1)


@pytest.mark.parametrize("name", list(each_claim()))
def test_it_runs_in_small(name, elsewhere, capsys, monkeypatch):
    # a curve takes half of the time of a training of three steps
    monkeypatch.setattr("support.session.draw_curve", lambda *_: None)
    module = claim(name)
    assert module.CLAIM.name == name and module.__doc__.count(f"python -m claims.{name}") == 1
    by_seed = [experiment.found_by(small_lab(name), module.measure)]
    experiment.finish(module.CLAIM, [0], by_seed, module.judge, module.draw)
    assert module.CLAIM.claim in capsys.readouterr().out
    numbers = json.loads(Path(f"runs/{name}/{name}.json").read_text())
    assert numbers["by_seed"] == by_seed
    assert Path(f"runs/{name}/{name}.png").stat().st_size > 5000
    again = experiment.found_by(small_lab(name), lambda lab: pytest.fail("was measured before"))
    assert [again] == by_seed


def test_what_was_trained_is_kept(elsewhere):
    lab = small_lab()
    model, _, _ = lab.train("a", task="multihop")
    before = (lab.folder / "a/checkpoint.pt").stat().st_mtime_ns
    again, _, flags = lab.train("a", task="multihop")
    assert (lab.folder / "a/checkpoint.pt").stat().st_mtime_ns == before and flags.seed == 0
    assert all((one == two).all() for one, two in zip(model.parameters(), again.parameters()))
    with pytest.raises(SystemExit):
        lab.train("a", task="multihop", hops=3)
    load_model(lab.folder / "a")


def test_what_was_interrupted_is_not_measured(elsewhere, capsys):
    lab = small_lab()
    with pytest.raises(SystemExit):
        lab.train("a", task="multihop", minutes=1e-9)  # stops after a step, and saves
    assert "was interrupted" in capsys.readouterr().err
    _, _, flags = lab.train("a", task="multihop")
    assert flags.steps == 3 and "stopped at step" not in capsys.readouterr().err


def test_the_pages_are_those_of_the_numbers_and_the_files():
    assert (ROOT / "claims/README.md").read_text() == table.claims_page()
    assert (ROOT / "papers/README.md").read_text() == table.papers_page()


def test_the_first_page_says_what_the_sections_say():
    """Each number in front of (names) stands in one of the sections of these names."""
    front, *rest = table.claims_page().split("\n## ")[1].split("**What did not show")
    sections = {part.split("\n")[0]: part for part in table.claims_page().split("\n## ")}
    said = re.findall(r"([^()]+)\(([a-z_,\s]+)\)", front)
    assert len(said) > 10 and rest
    for text, names in said:
        shown = "".join(sections[name] for name in names.replace("\n", " ").split(", "))
        assert {*re.findall(r"\d+\.\d+", text)} <= {*re.findall(r"\d+\.\d+", shown)}, text


def test_what_belongs_together_is_told_below_its_heading():
    long = ", ".join(f"{hops} hops 0.{hops}0 (halts {hops}, of 9)" for hops in range(1, 9))
    assert table.told_by_block("right (a: b): x 1; y 2") == (
        ", right (a: b)",
        ["  - x 1", "  - y 2"],
    )
    what, lines = table.told_by_block(f"weights 5; right: loop: {long}; stack: 1 hop 0.95; time 2")
    assert what == "" and lines[:3] == ["  - weights 5", "  - right:", "    - loop:"]
    assert lines[3:11] == [f"      - {each}" for each in long.replace("9), ", "9)|").split("|")]
    assert lines[11:] == ["    - stack: 1 hop 0.95", "  - time 2"]


def test_a_claim_that_was_not_run_is_said_to_wait():
    run = {path.stem for path in COMMITTED}
    waiting = re.findall(r"\nNot run on three seeds yet.*", (ROOT / "claims/README.md").read_text())
    assert run <= {*NAMES}
    assert re.findall(r"\[(\w+)\]", "".join(waiting)) == [name for name in NAMES if name not in run]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_verdict_is_that_of_the_numbers(path):
    module, numbers = claim(path.stem), json.loads(path.read_text())
    ours, found = module.judge(experiment.table_of(numbers["by_seed"]))
    assert [numbers["ours"], numbers["verdict"]] == [ours, parts.verdict_of(found)]
    for part, kept in zip(found, numbers["parts"], strict=True):
        assert (part.name, part.answer) == (kept["name"], kept["answer"])
        assert (part.margin, part.error) == pytest.approx((kept["margin"], kept["error"]))
    assert asdict(module.CLAIM).items() <= numbers.items() and numbers["falls"] and numbers["tried"]
    minutes = median(found["minutes"] for found in numbers["by_seed"])
    assert len(numbers["by_seed"]) == len(numbers["seeds"]) >= (5 if minutes < 5 else 3)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_each_part_is_answered_by_the_rules(path):
    for part in json.loads(path.read_text())["parts"]:
        margin, error, answer = part["margin"], part["error"], part["answer"]
        if answer == parts.YES:
            assert margin > error
        elif answer == parts.NO:
            assert margin < -error
        elif answer == parts.SAME:
            assert abs(margin) <= error
        else:
            assert answer.startswith(f"{parts.UNTESTED}: ") and len(answer) > 14


ACCURACIES = {"right", "at_last", "right_at_exit", "as_trained", "earlier", "last", "later"}
ACCURACIES |= {"right_from_noise", "right_of_kept", "proposal", "head", "vote", "oracle", "once"}
ACCURACIES |= {"shown", "learned"}
OTHERWISE = {  # is measured
    "capo",
    "in_context_regression",
    "parcae",
    "programmable_computer",
    "recurrence_worth",
}


def judged_if(path, accuracy):
    """The parts, and what they would be if every model were right so often: (before, after)."""
    numbers = json.loads(path.read_text())

    def instead(name, value):
        is_one = (
            name in ACCURACIES or name in ("by_loop", "best") and path.stem != "layer_duplication"
        )
        if not is_one:
            return value
        return [accuracy] * len(value) if isinstance(value, list) else accuracy

    for found in numbers["by_seed"]:
        found["rows"] = [{k: instead(k, v) for k, v in row.items()} for row in found["rows"]]
    _, after = claim(path.stem).judge(experiment.table_of(numbers["by_seed"]))
    return numbers["parts"], after


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_where_nothing_has_learned_nothing_is_judged(path):
    if path.stem in OTHERWISE:
        return
    of_time = ("the order saves time", "twice in a row costs under 1.5 times once")
    answers = [part.answer for part in judged_if(path, 0.0)[1] if part.name not in of_time]
    assert all(answer.startswith(parts.UNTESTED) for answer in answers)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_where_all_is_right_nothing_is_better(path):
    if path.stem in OTHERWISE | {"ouro", "huginn"}:  # then loops decide, as they should
        return
    before, after = judged_if(path, 1.0)
    others = [part["margin"] for part in before]  # are not of accuracies: they stay
    for part in after:
        assert part.answer not in (parts.YES, parts.NO) or part.margin in others


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_seed_found_the_same_rows(path):
    """Which cells there are; one that says for itself which loops were best may differ."""
    by_seed = json.loads(path.read_text())["by_seed"]
    columns = [[[*row] for row in found["rows"]] for found in by_seed]
    assert all(each == columns[0] for each in columns)


@pytest.fixture(scope="session")
def banks(tmp_path_factory):
    return tmp_path_factory.mktemp("banks")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(claim(name), "BOARDS")])
def test_the_boards_that_all_seeds_share_are_as_many_as_it_says(name, banks):
    module = claim(name)
    flags = {field: module.ALL.get(field, False) for field in ("box", "puzzles", "search")}
    rounds = Sudoku(**flags, banks=banks).bank["test"]["difficulty"]
    low, high = module.HARD if isinstance(module.HARD, tuple) else (module.HARD, module.HARD)
    assert module.BOARDS == dict(questions=((low <= rounds) & (rounds <= high)).sum(), shared=True)
