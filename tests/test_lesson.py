"""
The lessons' own check: a reader who is right goes on with the own function; one who is not is told
why.
"""

import sys

import pytest
import torch
from helpers import ROOT

sys.path.append(str(ROOT / "notebooks"))
from lesson import FEW, Drawn, guess, plt, take, trained  # noqa: E402 (after the path is set)

x = torch.arange(6.0).view(2, 3)


def ours(x):
    return x.sum(1)


def forgot_the_axis(x):
    return x.sum(0)


def raises(x):
    return x.no_such_thing()


def spoils(x):
    x.zero_()
    return x.sum(1)


def later(x):
    raise NotImplementedError


@pytest.mark.parametrize(
    "yours, words",
    (
        (lambda x: [3, 12], "right"),
        (later, "not written yet"),
        (lambda x: None, "it returns nothing"),
        (lambda x: "many", "it returns a str, wanted are numbers"),
        (lambda x: x, "its result has the shape (2, 3), not (2,)"),
        (lambda x: x.sum(1) + 1, "other numbers than expected"),
        (raises, "AttributeError"),
        (forgot_the_axis, "that is the sum over the rows"),
        (spoils, "other numbers"),
    ),
)
def test_it_says_what_is_wrong_and_goes_on(yours, words, capsys):
    chosen = take(yours, ours, x, mistakes=[(forgot_the_axis, "that is the sum over the rows")])
    assert words in capsys.readouterr().out
    assert chosen is (yours if words == "right" else ours)
    assert ours(x).tolist() == [3, 12]  # nobody's function can spoil the arguments


def test_what_is_compared_may_be_a_part_of_the_result(capsys):
    def doubled(x):
        return dict(sums=2 * x.sum(1), note="mine")

    def sums_of(result):
        return result["sums"]

    assert take(doubled, lambda x: dict(sums=2 * x.sum(1)), x, numbers=sums_of) is doubled
    assert take(doubled, lambda x: dict(sums=x.sum(1)), x, numbers=sums_of) is not doubled


def test_a_figure_is_shown_by_the_cell_that_ends_with_it():
    plt.close("all")  # other tests leave some open
    plt.plot([1, 2])
    assert Drawn()._repr_png_().startswith(b"\x89PNG") and not plt.get_fignums()


@pytest.mark.parametrize(
    "yours, found, said",
    ((..., 0.123, "no guess; it is 0.12"), (0.9, 0.123, "your guess: 0.9; it is 0.12")),
)
def test_a_guess_stands_beside_what_came_out(yours, found, said, capsys):
    guess(yours, found)
    assert capsys.readouterr().out == said + "\n"


def test_a_run_is_trained_once_and_continued_if_interrupted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOOPED_FAST", str(tmp_path))
    flags = "--task multihop --hops 2"
    trained("run", flags)
    weights = trained("run", flags)[0].state_dict()
    assert "2 steps, trained before" in capsys.readouterr().out
    config = tmp_path / "run" / "config.json"
    # as if it had been stopped after two steps of three
    config.write_text(config.read_text().replace('"steps": 2', '"steps": 3'))
    monkeypatch.setattr("lesson.FEW", FEW.replace("--steps 2", "--steps 3"))
    model, _ = trained("run", flags)
    assert any((weights[name] != new).any() for name, new in model.state_dict().items())
