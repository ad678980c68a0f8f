"""The modules stand in the folder above; the tests run on one thread, so that two suites may share a machine."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def banks(tmp_path_factory):
    """The folder where all tests keep the Sudoku puzzles they made."""
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(autouse=True)
def registries():
    """A task or model that a test adds is forgotten after it."""
    from looped import MODELS
    from tasks import TASKS

    before = [(registry, dict(registry)) for registry in (TASKS, MODELS)]
    yield
    for registry, content in before:
        registry.clear()
        registry.update(content)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory of its own for each run."""
    monkeypatch.chdir(tmp_path)
