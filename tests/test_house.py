"""The house can be read: files as long as promised, and each imports only from those that are read before it."""

import ast
import sys
from pathlib import Path

import pytest
from helpers import ROOT

ORDER = "checks attention looped fast tasks boards sudoku chains figures runs recipes train analyses analyze".split()
MODULES = [ROOT / f"{name}.py" for name in ORDER if name != "analyses"] + sorted((ROOT / "analyses").glob("*.py"))


def imported(path):
    """The first word of everything that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if not node.level else "analyses"


def place(path):
    return ORDER.index("analyses" if path.parent.name == "analyses" else path.stem)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_from_those_above_it(path):
    ours = {name for name in imported(path) if (ROOT / f"{name}.py").exists() or (ROOT / name).is_dir()}
    allowed = ORDER[: place(path)] + ["analyses"] * (path.parent.name == "analyses")
    assert ours <= set(allowed), f"{path.name} may import only {', '.join(allowed)}"


def test_the_order_is_one_that_a_wrong_import_would_break(tmp_path):
    (tmp_path / "looped.py").write_text(
        "import torch\n\n\ndef late():\n    from tasks import Task\n\n    return Task\n"
    )
    assert set(imported(tmp_path / "looped.py")) == {"torch", "tasks"}
    assert "tasks" not in ORDER[: place(tmp_path / "looped.py")] and "checks" in ORDER[: place(tmp_path / "looped.py")]


def test_looped_imports_nothing_but_torch_and_its_two_helpers():
    assert set(imported(ROOT / "looped.py")) - sys.stdlib_module_names == {"torch", "attention", "checks"}


def test_no_module_is_left_out_of_the_order():
    assert {path.stem for path in ROOT.glob("*.py")} <= set(ORDER)


@pytest.mark.parametrize("name, lines", [("looped.py", 350), ("train.py", 250), ("README.md", 150)])
def test_what_is_read_first_is_short(name, lines):
    assert len(Path(ROOT, name).read_text().splitlines()) <= lines
