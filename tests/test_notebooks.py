"""The notebooks, cell by cell, with a few steps of training; and what is committed of them."""

import json
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted(Path(__file__).parent.parent.glob("notebooks/*.ipynb"))


def cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("LOOPED_FAST", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = {}
    for cell in cells(path):
        exec("".join(cell["source"]), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_outputs_and_without_errors(path):
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert len(outputs) >= 3 and all(output["output_type"] != "error" for output in outputs)
    assert "/root" not in path.read_text() and "/home" not in path.read_text()
