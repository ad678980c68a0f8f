"""think: what is shown, against the model asked directly."""

import json

import pytest
from PIL import Image, ImageSequence

from train import load_model


@pytest.mark.parametrize("name", ("hops", "digits", "letters", "boards", "facts", "hops/control"))
def test_think_shows_the_answer_after_each_loop(runs, run, name, capsys):
    run("think", runs / name)
    numbers = json.loads((runs / name / "think.json").read_text())
    model, task, _ = load_model(runs / name)
    for example in numbers["examples"]:
        batch = task.batch("test", 0, 1, example["difficulty"])
        assert example["question"] == task.show(batch.tokens[0])
        for loops, text in enumerate(example["after_loop"], 1):
            prediction = model(batch.tokens, loops).argmax(-1)
            assert text == task.show(batch.tokens[0], prediction[0])
            assert example["right"][loops - 1] == task.check(batch, prediction).item()
    assert (runs / name / "think.png").stat().st_size > 10_000 and capsys.readouterr().out


def test_think_shows_as_many_loops_as_asked_for(runs, run):
    def shown(*flags):
        run("think", runs / "hops", *flags)
        examples = json.loads((runs / "hops/think.json").read_text())["examples"]
        return [len(each["right"]) for each in examples]

    assert shown() == [1 + 4, 2 + 4, 4 + 4]  # difficulty + the slack of training
    assert shown("--loops", 3) == [3, 3, 3]


@pytest.mark.parametrize("name", ("hops", "boards"))
def test_the_moving_picture_has_a_frame_for_each_loop_and_one_before(runs, run, name):
    run("think", runs / name, "--loops", 5, "--animate")
    path = runs / name / "think.gif"
    with Image.open(path) as picture:
        frames = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(picture)]
        assert picture.n_frames == 5 + 1 and picture.width == 637  # 8.5 inches at 75 dots
    assert len(set(frames)) == 6 and path.stat().st_size < 2_000_000
    assert sum(a != b for a, b in zip(frames[1], frames[-1])) > 1000  # more than the heading
