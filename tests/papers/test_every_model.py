"""What holds for each file of papers/: it has one model, which `--model` finds, and its use."""

import importlib
import re

import pytest
import torch
from helpers import ROOT

from looped import Config, LoopedGPT
from support.flags import find_model, flag_fields, is_model

NAMES = sorted(path.stem for path in (ROOT / "papers").glob("[!_]*.py"))
NO_MODEL_OF_TRAIN = ("in_context_regression", "programmable_computer")  # no task has such tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_one_model_and_says_how_it_is_used(name):
    module = importlib.import_module(f"papers.{name}")
    own = [each for each in vars(module).values() if is_model(each)]
    own = [each for each in own if each.__module__ == module.__name__]
    assert own == [find_model(name)] and issubclass(own[0], LoopedGPT)
    assert issubclass(own[0].config_class, Config)
    assert "What is different here: " in module.__doc__
    command = "python train.py .*(--model|--preset) " + name
    if name in NO_MODEL_OF_TRAIN:
        command = "python -m claims." + name
    assert re.search(command, module.__doc__)
    assert (ROOT / f"claims/{name}.py").exists() or name == "gru"


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_of_its_own_has_a_comment(name):
    config = find_model(name).config_class
    shared = {field.name for field, _ in flag_fields(Config)}
    for field, comment in flag_fields(config):
        assert comment or field.name in shared


def small(name, **changes):
    cls = find_model(name)
    causal = dict(causal=False) if name == "looped_diffusion" else {}
    sizes = dict(vocab_size=11, n_embd=16, n_head=2, loops=4)
    return cls(cls.config_class(**sizes, **causal, **changes))


@pytest.mark.parametrize("name", sorted({*NAMES} - {*NO_MODEL_OF_TRAIN}))
def test_the_state_that_is_measured_has_the_width_of_a_state(name):
    model = small(name)
    state = model.think(torch.randint(11, (3, 7)), 2)
    proper = model.proper_state(state)
    assert proper.shape[-1] == (32 if name in ("tiny_recursive_model", "ptrm") else 16)


@pytest.mark.parametrize("name", sorted({*NAMES} - {*NO_MODEL_OF_TRAIN}))
def test_the_question_learns_also_where_the_gradient_is_cut_off(name):
    try:
        model = small(name, backprop_loops=1)
    except ValueError as refusal:
        assert "backprop_loops" in str(refusal)
        return
    torch.manual_seed(0)
    tokens, targets = torch.randint(11, (2, 6, 7))
    model.loss(tokens, targets, 4)[0].backward()
    assert model.prelude_norm.weight.grad.abs().sum() > 0
