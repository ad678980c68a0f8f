"""analyze.py: the table, the flags of each analysis, and one line for what cannot work."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import analyze
from analyses.common import parse

ROOT = Path(analyze.__file__).parent


@pytest.mark.parametrize("argv", ([], ["--help"], ["-h"]))
def test_the_table_has_a_line_for_each_analysis(argv, capsys):
    analyze.main(argv)
    lines = capsys.readouterr().out.splitlines()
    for name in analyze.ANALYSES:
        described = importlib.import_module(f"analyses.{name}").__doc__.strip().splitlines()[0]
        assert f"    {name:<12}{described}" in lines and len(described) <= 120 - 16


@pytest.mark.parametrize("name", analyze.ANALYSES)
def test_help_shows_the_flags_of_one_analysis_alone(name, capsys):
    with pytest.raises(SystemExit) as stop:
        analyze.main([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and f"analyze.py {name}" in text and "--device" in text
    assert ("--file" in text) == (name == "solve") and ("--group" in text) == (name == "compare")


@pytest.mark.parametrize("name", analyze.ANALYSES)
def test_the_pinned_flags_are_taken_by_every_analysis(name):
    flags = "--loops 3 --examples 20 --factor 2 --device cpu".split()
    for argv in (["a", *flags], [*flags, "a"]):
        module, args = parse(name, argv)
        assert args.runs == [Path("a")] and (args.loops, args.examples, args.factor, args.device) == (3, 20, 2, "cpu")
    assert module.__name__ == f"analyses.{name}"


@pytest.mark.parametrize("name", ("stability", "bench"))
def test_stability_and_bench_need_no_run(name):
    _, args = parse(name, ["--steps", "7"])
    assert args.runs == [Path("runs", name)] and args.steps == 7


@pytest.mark.parametrize("command", (["analyze.py", "think"], ["-m", "analyses.think"]))
def test_an_analysis_can_be_called_in_two_ways(runs, command):
    (runs / "digits/think.png").unlink(missing_ok=True)
    argv = [sys.executable, *command, runs / "digits", "--loops", "2", "--device", "cpu"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "loop  2" in done.stdout and (runs / "digits/think.png").exists()


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
