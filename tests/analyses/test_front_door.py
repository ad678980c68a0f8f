"""analyze.py: the table, the flags of each analysis, and one line for what cannot work."""

import argparse
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import refused

import analyze
import train
from analyses.common import kind_of, parse

ROOT = Path(analyze.__file__).parent
ANALYSES = list(analyze.HERE | analyze.OTHERS)


@pytest.mark.parametrize("argv", ([], ["--help"], ["-h"]))
def test_the_table_has_a_line_for_each_analysis(argv, capsys):
    analyze.main(argv)
    lines = capsys.readouterr().out.splitlines()
    for name in ANALYSES:
        described = analyze.find_analysis(name).text.splitlines()[0]
        assert f"    {name:<12}{described}" in lines and len(described) <= 100 - 16


def test_the_table_has_every_file_that_is_an_analysis():
    files = [path for path in (ROOT / "analyses").glob("*.py") if "\ndef main(" in path.read_text()]
    assert sorted(path.stem for path in files) == sorted(analyze.OTHERS)
    for name, line in analyze.OTHERS.items():
        module = importlib.import_module(f"analyses.{name}")
        assert module.__doc__.strip().splitlines()[0] == line


@pytest.mark.parametrize("name", ANALYSES)
def test_help_shows_the_flags_of_one_analysis_alone(name, capsys):
    with pytest.raises(SystemExit) as stop:
        analyze.main([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and f"analyze.py {name}" in text and "--device" in text
    assert ("--file" in text) == (name == "solve") and ("--group" in text) == (name == "compare")


@pytest.mark.parametrize("name", ANALYSES)
def test_the_pinned_flags_are_taken_by_every_analysis(name):
    flags = "--loops 3 --examples 20 --factor 2 --device cpu".split()
    for argv in (["a", *flags], [*flags, "a"]):
        args = parse(analyze.find_analysis(name), argv)
        assert args.runs == [Path("a")] and args.device == "cpu"
        assert (args.loops, args.examples, args.factor) == (3, 20, 2)


@pytest.mark.parametrize("name", ("stability", "bench"))
def test_stability_and_bench_need_no_run(name):
    args = parse(analyze.find_analysis(name), ["--steps", "7"])
    assert args.runs == [Path("runs", name)] and args.steps == 7


@pytest.mark.parametrize(
    "command, words",
    [
        ("think", "loop  2"),
        ("stages", "seed 0: looped"),
    ],
)
def test_where_stderr_is_no_terminal_no_progress_bar_stands_in_it(runs, command, words):
    picture = runs / f"digits/{command}.png"
    picture.unlink(missing_ok=True)
    flags = "--loops 2 --device cpu".split()
    argv = [sys.executable, "analyze.py", command, runs / "digits", *flags]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and words in done.stdout and picture.exists()
    assert "it/s" not in done.stderr and "%|" not in done.stderr


@pytest.mark.parametrize(
    "argv, words",
    [
        (["depth", "nowhere"], "not the folder of a run"),
        (["depth", "hops/config.json"], "Not a directory"),
        (["depth", "hops", "hops"], "same seed"),
        (["depth", "hops", "digits"], "differ"),
        (["cost", "hops/control"], "untied"),
        (["solve", "hops", "--file", "any"], "Sudoku"),
        (["solve", "boards"], "--file"),
        (["dream", "hops"], "depth"),
        (["depth"], "wants the folder"),
        (["cache", "boards"], "not causal"),
        (["phases", "hops"], "composition"),
        (["fixedpoint", "hops/control"], "untied"),
        (["fixedpoint", "hops", "hops"], "same seed"),
        (["stages", "hops", "digits"], "differ"),
        (["exits", "hops", "--factor", "1", "--examples", "5", "--loops", "2"], "--factor"),
        (["exits", "hops/control"], "untied"),
        (["think", "hops", "other"], "one folder"),
        (["depth", "hops", "--factor", "0.5"], "--factor"),
        (["depth", "hops", "--factor", "nan"], "--factor"),
        (["depth", "hops", "--factor", "9"], "must be at most 8"),
        (["depth", "hops", "--examples", "0"], "--examples"),
        (["depth", "hops", "--examples", "many"], "'many' is no number"),
        (["depth", "hops", "--loops", "-1"], "--loops"),
        (["stability", "hops", "--steps", "0"], "--steps"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(runs, run, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(runs)
    with pytest.raises(SystemExit) as stop:
        run(*argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error


def test_a_control_of_another_run_is_refused(runs, run, tmp_path, capsys):
    shutil.copytree(runs / "hops", tmp_path / "hops")
    shutil.rmtree(tmp_path / "hops/control")
    shutil.copytree(runs / "other", tmp_path / "hops/control")
    with pytest.raises(SystemExit) as stop:
        run("depth", tmp_path / "hops")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "its --seed is another" in error


@pytest.mark.parametrize("content", ("{", "[]", "{}", '{"task": "chess"}'))
def test_a_config_that_is_no_config_is_refused(run, tmp_path, capsys, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        run("depth", tmp_path)
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1


# ---- models of one's own

PLAIN = """
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class PlainConfig:
    vocab_size: int
    loops: int = 4
    width: int = 8  # of the state


class Plain(nn.Module):
    config_class = PlainConfig

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.step = nn.Linear(config.width, config.width)
        self.head = nn.Linear(config.width, config.vocab_size)

    def forward(self, tokens, loops):
        h = e = self.embed(tokens)
        for _ in range(int(torch.as_tensor(loops).max())):
            h = self.step(h + e).tanh()
        return self.head(h)

    def loss(self, tokens, targets, loops):
        logits = self(tokens, loops)
        asked = targets >= 0
        losses = nn.functional.cross_entropy(logits[asked], targets[asked])
        return losses, logits.argmax(-1)
"""
STATES = """

    def states(self, tokens, loops):
        h = e = self.embed(tokens)
        yield h
        for _ in range(loops):
            h = self.step(h + e).tanh()
            yield h

    def readout(self, h):
        return self.head(h)
"""
BRIEF = "--steps 2 --batch 8 --eval_size 8 --no-curriculum --device cpu".split()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Runs of a model that has only what train.py asks for, and of one with states and readout."""
    folder = tmp_path_factory.mktemp("plain")
    for name, code in (("plain", PLAIN), ("states", PLAIN + STATES)):
        (folder / f"{name}.py").write_text(code)
        model = ["--model", str(folder / f"{name}.py")]
        train.main(
            ["--task", "multihop", "--hops", "2", *model, *BRIEF, "--out", f"{folder}/{name}"]
        )
    return folder


@pytest.mark.parametrize(
    "name, run_of, method",
    [
        ("depth", "plain", "states"),
        ("think", "plain", "states"),
        ("exits", "states", "proper_state"),
        ("fixedpoint", "plain", "trajectory"),
        ("stages", "plain", "trajectory"),
        ("cost", "plain", "solve"),
        ("cache", "plain", "begin"),
        ("solve", "plain", "states"),
    ],
)
def test_a_model_that_lacks_a_method_is_refused_by_its_name(
    plain, run, capsys, name, run_of, method
):
    error = refused(lambda: run(name, plain / run_of), capsys)
    assert f"`{method}`" in error and "Plain" in error


def test_a_page_of_a_model_of_ones_own_is_refused(plain, run, capsys):
    assert "code of its own" in refused(lambda: run("page", plain / "plain"), capsys)


def test_states_and_readout_are_enough_for_depth_and_think(plain, run):
    run("depth", plain / "states", "--loops", 6, "--examples", 10, "--factor", 2)
    run("think", plain / "states", "--loops", 3)
    assert (plain / "states/depth.png").exists() and (plain / "states/think.png").exists()


def test_the_kind_of_a_run_in_words():
    def flags(**changes):
        usual = dict(model="looped", tied=True, sampler="blind", loops=10, n_core=1, reembed=False)
        return argparse.Namespace(**usual | changes)

    assert kind_of(flags()) == "looped" and kind_of(flags(reembed=True)) == "looped, re-embedding"
    assert kind_of(flags(sampler="fixed")) == "looped, always 10"
    assert kind_of(flags(sampler="fixed", loops=1)) == "1 layer, used once"
    assert kind_of(flags(sampler="fixed", loops=1, n_core=2)) == "2 layers, used once"
    assert kind_of(flags(tied=False, n_core=2)) == "20 layers, each used once"
    assert kind_of(flags(model="ouro")) == "ouro"
    assert kind_of(argparse.Namespace(model="my/own.py", tied=True, sampler="blind")) == "own"
