"""The tables of README.md and RESULTS.md hold the numbers of results/."""

import importlib.util
import re

import numpy as np
import pytest
from helpers import ROOT

spec = importlib.util.spec_from_file_location("tables", ROOT / "results/tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


def committed_tables():
    """{name: table} of both files."""
    found = {}
    for path in tables.FILES:
        text = path.read_text(encoding="utf-8")
        found |= {name: table for _, name, table, _ in tables.TABLE.findall(text)}
    return found


def test_the_committed_tables_are_those_of_the_numbers(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    tables.main()  # SystemExit if a table differs
    assert "differ from their numbers: none" in capsys.readouterr().out, "run `make tables`"


def test_every_template_is_used_once():
    texts = "".join(path.read_text(encoding="utf-8") for path in tables.FILES)
    names = [name for _, name, _, _ in tables.TABLE.findall(texts)]
    assert sorted(names) == sorted(tables.read_templates())


def test_another_number_would_be_seen(monkeypatch, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    templates = {"front": "{demo.best[12]} and {fixedpoint/addition[right]:.3f}\n"}
    numbers = tables.Numbers()
    numbers["demo"] = tables.Depth(ROOT / "results/demo")
    before = numbers["demo"].best[12]
    filled = tables.fill(text, templates, numbers)
    assert f"<!-- table: front -->\n{before} and 1.000\n<!-- end -->" in filled
    numbers["demo"].best[12] = "0.12 [0.10, 0.99]"
    filled = tables.fill(text, templates, numbers)
    assert "<!-- table: front -->\n0.12 [0.10, 0.99] and 1.000\n" in filled

    other = tmp_path / "README.md"
    other.write_text(text.replace("| accuracy |", "| precision |"), encoding="utf-8")
    monkeypatch.setattr(tables, "FILES", (other,))
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    with pytest.raises(SystemExit) as end:
        tables.main()
    assert end.value.code == 1 and "precision" in other.read_text(encoding="utf-8")


def test_a_text_is_the_median_and_the_range():
    found = tables.Depth(ROOT / "results/demo")
    i = found.difficulty.index(10)
    each = [run["accuracy_at_trained_loops"][i] for run in found.runs]
    low, middle, high = (tables.accuracy(x) for x in (min(each), np.median(each), max(each)))
    assert len(each) == found.seeds == 10
    assert found.trained[10] == (f"{middle} [{low}, {high}]" if low < high else middle)
    assert tables.between([1, 1, 1]) == "1.00"
    assert tables.between([0.9961, 1, 0.5]) == "0.996 [0.50, 1.00]"


def test_a_number_has_the_digits_that_matter():
    assert [tables.accuracy(x) for x in (0.9999, 0.98, 0.97)] == ["1.00", "0.980", "0.97"]
    numbers = (1.2e-7, 0.0079, 0.46, 4.05, 71899, 1.79e17)
    texts = ["1e-7", "0.008", "0.46", "4.05", "72,000", "2e17"]
    assert [tables.size(x) for x in numbers] == texts


def holds_two_numbers(cell):
    """A range in brackets is part of its number."""
    cell = re.sub(r" \[[\d., ]*\]", "", cell)
    return re.search(r"\d (/|->|;|and) \d|\d, \d", cell) is not None


def test_two_numbers_in_a_cell_would_be_seen():
    for cell in ("0.05 [0.02, 0.06] / 1.00 [0.992, 1.00]", "0.62 -> 0.91", "0.97 [0.9, 1.00], 159"):
        assert holds_two_numbers(cell)
    for cell in ("0.05 [0.02, 0.06]", "1,500", "10, the most in training", "6 to 10 loops"):
        assert not holds_two_numbers(cell)


@pytest.mark.parametrize("name", tables.read_templates())
def test_a_cell_holds_one_number(name):
    header, _, *rows = committed_tables()[name].splitlines()
    for row in rows:
        cells = row.strip("|").split("|")
        assert len(cells) == len(header.strip("|").split("|"))
        assert [cell for cell in cells if holds_two_numbers(cell)] == []
