"""
The modules stand in the folder above. The tests run on one thread, so that two suites may share a
machine.
"""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """
    What `pytest -n 2 --dist loadgroup` keeps on one worker: the tests of a file, and those of
    analyses/, which share what was trained for them.
    """
    for item in items:
        folder, file = item.path.parent.name, item.path.stem
        group = folder if folder == "analyses" else file
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def banks(tmp_path_factory):
    """The folder where all tests keep the Sudoku puzzles they made."""
    return tmp_path_factory.mktemp("banks")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory of its own for each run."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def files_are_read_again():
    """A name of a task or a model is looked up once, but many tests write a file of that name."""
    from support.flags import find_model, find_task

    yield
    find_task.cache_clear()
    find_model.cache_clear()
