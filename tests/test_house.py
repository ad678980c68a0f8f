"""
The house can be read from top to bottom: each file imports only from those that stand above it. And
looped.py can be taken out of it.
"""

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT

ORDER = """
    support/processes support/files support/hashing support/puzzle_files support/boards
    looped tasks more_tasks papers
    support/recipes support/figures support/fast support/flags support/folder support/session
    train analyses analyze claims
""".split()
FOLDERS = ("more_tasks", "analyses", "papers", "claims")  # their files may import each other
READ_FIRST = ("looped.py", "tasks.py", "train.py", "analyze.py")


def files():
    """All Python files of the house, without tests, notebooks, results and the assignment."""
    paths = list(ROOT.glob("*.py"))
    for folder in ("support", *FOLDERS):
        paths += ROOT.glob(f"{folder}/*.py")
    return sorted(path for path in paths if path.name != "__init__.py")


def place(name):
    """Where a module such as "tasks" or "papers/gru" stands in the order."""
    folder = name.split("/")[0]
    return ORDER.index(folder if folder in FOLDERS else name)


def name_of(path):
    return path.relative_to(ROOT).with_suffix("").as_posix()


def imported(text):
    """All that a text imports, wherever in it, such as "torch", "support/fast" or "papers/gru"."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.replace(".", "/")
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their folder"
            module = node.module.replace(".", "/")
            if module == "support" or module in FOLDERS:  # from support import flags
                for alias in node.names:
                    yield f"{module}/{alias.name}"
            else:
                yield module


def ours(name):
    folder = name.split("/")[0]
    return (ROOT / f"{name}.py").exists() or folder in FOLDERS or folder == "support"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_file_imports_only_from_those_above_it(path):
    here = place(name_of(path))
    for name in filter(ours, imported(path.read_text(encoding="utf-8"))):
        among_equals = name.split("/")[0] == ORDER[here] in FOLDERS
        assert place(name) < here or among_equals, f"{name} stands below {name_of(path)}"


def test_the_order_is_one_that_a_wrong_import_would_break():
    late = "import torch\n\n\ndef late():\n    from tasks import Task\n\n    return Task\n"
    assert list(imported(late)) == ["torch", "tasks"] and place("tasks") > place("looped")
    assert list(imported("from support import flags")) == ["support/flags"]
    assert place("support/flags") > place("tasks") > place("support/hashing")


def test_every_file_has_a_place_in_the_order():
    for path in files():
        place(name_of(path))


def test_what_is_read_first_stands_at_the_top_and_nothing_else():
    assert sorted(path.name for path in ROOT.glob("*.py")) == sorted(READ_FIRST)


@pytest.mark.parametrize("name", READ_FIRST)
def test_no_line_is_too_long_to_be_read(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 100] == []


# ---- looped.py alone


def test_looped_needs_torch_and_nothing_else():
    names = {name.split("/")[0] for name in imported((ROOT / "looped.py").read_text())}
    assert names - sys.stdlib_module_names == {"torch"}


FOREIGN = """
import torch
from looped import Config, LoopedGPT
model = LoopedGPT(Config(vocab_size=4, n_embd=32, position="window", reach=2))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
for step in range(20):
    tokens = torch.randint(4, (32, 8))
    loss, _ = model.loss(tokens, tokens.roll(1, dims=1), loops=torch.randint(1, 5, (32,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item())
"""


def test_a_copy_of_looped_alone_trains_in_the_script_of_somebody_else(tmp_path):
    shutil.copy(ROOT / "looped.py", tmp_path)
    (tmp_path / "mine.py").write_text(f"import torch; torch.manual_seed(0)\n{FOREIGN}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    losses = [float(word) for word in re.findall(r"\S+", done.stdout)]
    assert len(losses) == 20 and sum(losses[-3:]) < 0.7 * sum(losses[:3])
