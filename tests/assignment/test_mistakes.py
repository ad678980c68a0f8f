"""
Each usual mistake costs the points that it should and no others, and the student reads its line.
All of it is in the hidden world.
"""

import build
import grade
import pytest
from grader import judges, table
from mistakes import MISTAKES, apply


def touched(file):
    """The exercises whose checks run a file. The answers to the others do not change with it."""
    return {
        "looped.py": ["e1", "e2", "e5"],
        "my_task.py": ["e3"],
        "recipe.py": ["e4"],
        "exit_rule.py": ["e5"],
    }.get(file, ["e6"])


def test_the_solution_gets_all_points(here, hidden, full):
    graded = grade.grade(full, hidden)
    assert all(points == check.points and not message for check, points, message in graded), (
        grade.summary(graded)
    )
    assert len(graded) == len(table.CHECKS)


def test_the_untouched_folder_gets_nothing(here, hidden):
    graded = grade.grade(build.student_files(), hidden)
    for check, points, message in graded:
        unwritten = (
            "e6/experiment.py is missing"
            if check.exercise == "E6"
            else f"NotImplementedError: {check.exercise}: "
        )
        assert points == 0 and message.startswith(unwritten), f"{check.name}: {message}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.file} {mistake.name}")
def test_a_mistake_costs_what_it_should(mistake, here, hidden, hidden_with_less, full):
    if mistake.file == "looped.py":  # e5_rule costs most there, and should not change at all
        hidden = hidden_with_less
    submission = full | {mistake.file: apply(mistake, full[mistake.file].decode()).encode()}
    for check, points, message in grade.grade(submission, hidden, touched(mistake.file)):
        if check.name in mistake.lost:
            assert points == 0 and mistake.lost[check.name] in message, message
        else:
            assert points == check.points and not message, f"{check.name}: {message}"


def test_each_exercise_has_at_least_four_mistakes():
    for exercise in table.EXERCISES:
        assert (
            len(
                [each for each in MISTAKES if any(exercise.lower() in check for check in each.lost)]
            )
            >= 4
        )
    names = {check.name for check in table.CHECKS}
    assert {name for each in MISTAKES for name in each.lost} == names


def test_no_two_mistakes_with_different_lines_look_the_same(hidden):
    for probe, known in hidden.known.items():
        for wrong in known.get("wrong", {}).values():
            for i, (message, answer) in enumerate(wrong):
                assert not judges.same(answer, known["right"]), f"{probe}: {message} looks right"
                for other, same_answer in wrong[:i]:
                    assert message == other or not judges.same(answer, same_answer), (
                        f"{probe}: {message} / {other}"
                    )


def test_a_mistake_whose_text_is_gone_says_so():
    with pytest.raises(ValueError, match="which looped.py does not contain"):
        apply(MISTAKES[0], "nothing")


# ---- what no mistake of the table shows


def find(name):
    return next(check for check in table.CHECKS if check.name == name)


def test_trained_hops_alone_point_at_what_attention_sees():
    import torch

    accuracy = torch.zeros(6, 24)
    accuracy[:3] = 1.0
    answer = dict(problem="", loops=[16] * 6, accuracy=accuracy)
    assert judges.judge(find("e4_trained"), answer, {}) == ""
    assert "What does attention see there" in judges.judge(find("e4_beyond"), answer, {})
    accuracy[5, 5] = 1.0
    assert "with 6 loops it would be 1.00; give harder questions fewer loops" in judges.judge(
        find("e4_beyond"), answer, {}
    )


@pytest.mark.parametrize("check", table.CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize(
    "answer", [None, {}, {"x": 1}, 7, dict(loops="a", batches={"a": {}}, splits={})]
)
def test_whatever_a_submission_answers_gets_a_line(check, answer, hidden):
    message = judges.judge(check, answer, hidden.known.get(check.probe, {}))
    assert message and "\n" not in message
