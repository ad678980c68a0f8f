"""
The notebooks, cell by cell, with a few steps of training; the lessons' checks; and what is
committed of them.
"""

import functools
import json
import re
import sys
from pathlib import Path

import pytest
import torch

import train
from claims import programmable_computer, regression
from tasks import Task

NOTEBOOKS = sorted(Path(__file__).parent.parent.glob("notebooks/*.ipynb"))


def cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("LOOPED_FAST", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(train, "load_model", shaken(train.load_model))
    spare_time(monkeypatch)
    names = {}
    for cell in cells(path):
        source = "".join(cell["source"])
        try_answers(source, names, capsys)
        exec(source, names)


def shaken(load_model):
    """
    After a few steps all answers are alike and all wrong. With random weights no two mistakes look
    the same.
    """

    def load(*arguments):
        model, task, flags = load_model(*arguments)
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.data.normal_()
        return model, task, flags

    return load


def spare_time(monkeypatch):
    """
    Fewer questions than the reader's, for models that have not learned anything; and a computer
    that knows the programs it has run, which every check of an answer runs again.
    """
    batch, prompts, build = Task.batch, regression.prompts, programmable_computer.build
    known = {}

    def few(task, split, step, size, difficulty=None):
        return batch(task, split, step, min(size, 64), difficulty)

    def few_prompts(seed, split, step, size):
        return prompts(seed, split, step, min(size, 64))

    @functools.cache
    def computer_with_a_memory(cells):
        computer = build(cells)
        run = computer.trajectory

        def trajectory(words, loops):
            program = (cells, loops, *words.flatten().tolist())
            if program not in known:
                known[program] = run(words, loops)
            return known[program]

        computer.trajectory = trajectory
        return computer

    monkeypatch.setattr(Task, "batch", few)
    monkeypatch.setattr(regression, "prompts", few_prompts)
    monkeypatch.setattr(programmable_computer, "build", computer_with_a_memory)


def try_answers(source, names, capsys):
    """The check of a cell knows a stub, the right answer and each of the usual mistakes."""
    for name in re.findall(r"^(\w+) = take\(", source, re.M):
        stub, answers = names[name], names["solutions"]
        tries = [
            (stub, "not written yet"),
            (getattr(answers, name), "right"),
            *getattr(answers, f"{name}_mistakes"),
        ]
        for function, words in tries:
            names[name] = function
            capsys.readouterr()
            exec(source, names)
            assert f": {words}" in capsys.readouterr().out, (name, words)
        names[name] = stub


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_outputs_and_without_errors(path):
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert len(outputs) >= 3 and all(output["output_type"] != "error" for output in outputs)
    assert "/root" not in path.read_text() and "/home" not in path.read_text()


LESSONS = [path for path in NOTEBOOKS if "solutions" in path.read_text()]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_numbers_of_the_prose_are_in_the_cells_above_it(path):
    number, link, above = re.compile(r"\d+\.\d+"), re.compile(r"\]\([^)]*\)"), set()
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            assert set(number.findall(link.sub("", source))) <= above
        outputs = [text for output in cell.get("outputs", []) for text in output.get("text", [])]
        above |= set(number.findall("".join([source, *outputs])))
