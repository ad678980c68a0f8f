"""The tables of README.md and RESULTS.md hold the numbers of results/."""

import importlib.util

import pytest
from helpers import ROOT

spec = importlib.util.spec_from_file_location("tables", ROOT / "results/tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


def test_the_committed_tables_are_those_of_the_numbers(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    with pytest.raises(SystemExit) as end:
        tables.main()
    assert end.value.code == 0, capsys.readouterr().out + "; run `make tables`"


def test_another_number_would_be_seen():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    templates = {"front": "{demo.best[12]} and {fixedpoint/addition[right]:.3f}\n"}
    numbers = tables.Numbers()
    numbers["demo"] = tables.Depth(ROOT / "results/demo")
    before = numbers["demo"].best[12]
    assert f"<!-- table: front -->\n{before} and 1.000\n<!-- end -->" in tables.fill(text, templates, numbers)
    numbers["demo"].best[12] = "0.12 [0.10, 0.99]"
    assert "<!-- table: front -->\n0.12 [0.10, 0.99] and 1.000\n" in tables.fill(text, templates, numbers)


def test_a_text_is_the_median_and_the_range():
    found = tables.Depth(ROOT / "results/demo")
    i = found.difficulty.index(10)
    each = sorted(run["accuracy_at_trained_loops"][i] for run in found.runs)
    middle = (each[4] + each[5]) / 2
    assert len(each) == 10 and found.trained[10] == f"{middle:.2f} [{each[0]:.2f}, {each[-1]:.2f}]"
    assert tables.between([1, 1, 1]) == "1.00" and tables.between([0.9961, 1, 0.5]) == "0.996 [0.50, 1.00]"
    assert tables.number(0.9999) == "1.00" and tables.number(0.98) == "0.980" and tables.number(0.97) == "0.97"
