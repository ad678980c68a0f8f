"""A run that several tests damage or continue: trained once and copied for each of them."""

import shutil
from pathlib import Path

import pytest
from helpers import TINY, main


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    main(["--task", "multihop", *TINY, "--out", str(folder)])
    return folder


@pytest.fixture
def run(trained, elsewhere):
    """A finished run, in the working directory."""
    shutil.copytree(trained, "run")
    return Path("run")
