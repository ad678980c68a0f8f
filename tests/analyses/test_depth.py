"""depth and compare: their numbers against a direct computation."""

import json

import numpy as np
import pytest
import torch

import analyze
from analyses import compare, depth_more
from support.figures import spread
from train import load_model


def test_depth_writes_the_promised_keys_and_true_numbers(runs, run, capsys):
    run("depth", runs / "hops", "--loops", 9, "--examples", 40, "--factor", 2)
    numbers = json.loads((runs / "hops/depth.json").read_text())
    assert numbers["difficulty"] == [1, 2, 3, 4] and numbers["loops"] == list(range(1, 10))
    assert numbers["trained_difficulty"] == 2 and numbers["trained_loops"] == dict(
        mean=4.0, largest=6
    )
    assert numbers["examples"] == 40 and numbers["seeds"] == [0] and len(numbers["control"]) == 4
    model, task, _ = load_model(runs / "hops")
    control, _, _ = load_model(runs / "hops/control")
    batch = task.batch("test", 0, 40, 3)
    for loops in (1, 5, 9):
        right = task.check(batch, model(batch.tokens, loops).argmax(-1)).float().mean().item()
        assert numbers["accuracy"][2][loops - 1] == pytest.approx(right)
    right = task.check(batch, control(batch.tokens).argmax(-1)).float().mean().item()
    assert numbers["control"][2] == pytest.approx(right)
    found = numbers["by_run"][0]
    for i, best in enumerate(found["best_loops"]):
        val = task.batch("val", 0, 40, i + 1)
        scores = [
            task.check(val, model(val.tokens, n).argmax(-1)).float().mean().item()
            for n in range(1, 10)
        ]
        assert best == scores.index(max(scores)) + 1
        assert numbers["accuracy_at_best_loops"][i] == pytest.approx(
            numbers["accuracy"][i][best - 1]
        )
        assert numbers["accuracy_at_trained_loops"][i] == numbers["accuracy"][i][6 - 1]
    mixture = task.batch("test", 0, 40)
    right = (
        task.check(mixture, model(mixture.tokens, found["mixture"]["best_loops"]).argmax(-1))
        .float()
        .mean()
        .item()
    )
    assert found["mixture"]["accuracy"] == pytest.approx(right)
    for name in ("depth", "depth_curves"):
        assert (runs / f"hops/{name}.png").stat().st_size > 10_000
    assert "best loops" in capsys.readouterr().out


def test_depth_takes_the_median_of_the_seeds(runs, run, capsys):
    run("depth", runs / "hops", runs / "other", "--loops", 8, "--examples", 20)
    numbers = json.loads((runs / "hops/depth.json").read_text())
    one, two = (torch.tensor(found["accuracy"]) for found in numbers["by_run"])
    assert numbers["seeds"] == [0, 1] and torch.allclose(
        torch.tensor(numbers["accuracy"]), (one + two) / 2
    )
    low, high = sorted(found["accuracy_at_best_loops"][0] for found in numbers["by_run"])
    assert f"{(low + high) / 2:.3f} [{low:.3f}, {high:.3f}]" in capsys.readouterr().out
    assert (
        depth_more.between([0.1, 0.9, 0.2]) == "0.200 [0.100, 0.900]"
        and depth_more.between([0.5]) == "0.500"
    )


def test_depth_measures_the_margin_and_the_loops_needed(runs, run):
    run("depth", runs / "hops", "--loops", 8, "--examples", 30)
    numbers = json.loads((runs / "hops/depth.json").read_text())
    model, task, _ = load_model(runs / "hops")
    batch = task.batch("test", 0, 30, 2)
    margins = []
    for logits, targets in zip(model(batch.tokens, 5).tolist(), batch.targets.tolist()):
        place, target = next((i, t) for i, t in enumerate(targets) if t != -100)
        margins.append(
            logits[place][target] - max(x for i, x in enumerate(logits[place]) if i != target)
        )
    assert numbers["margin"][1][4] == pytest.approx(sum(margins) / 30, abs=1e-4)
    needed = numbers["by_run"][0]["loops_needed"]
    for difficulty, loops in zip(numbers["difficulty"], needed):
        val = analyze.accuracy_by_loop(model, task, "val", difficulty, 8, 30)
        assert loops == min((t for t in range(1, 9) if val[t - 1] >= 0.9), default=None)


@pytest.mark.parametrize("name", ("boards", "facts", "hops/control"))
def test_depth_of_every_kind_of_run(runs, run, name):
    run("depth", runs / name, "--loops", 12, "--examples", 10, "--factor", 1.5)
    numbers = json.loads((runs / name / "depth.json").read_text())
    assert np.shape(numbers["accuracy"]) == (len(numbers["difficulty"]), len(numbers["loops"]))
    assert numbers["control"] is None and (runs / name / "depth_curves.png").exists()


def test_the_title_says_what_is_solved():
    numbers = dict(
        task="multihop",
        unit="hops",
        trained_difficulty=2,
        trained_loops=dict(largest=6),
        seeds=[0, 1],
    )
    numbers.update(
        difficulty=[1, 2, 4, 8],
        difficulty_names=["1 hop", "2 hops", "4 hops", "8 hops"],
        examples=500,
    )
    numbers.update(
        accuracy_at_trained_loops=[1, 0.9, 0.2, 0.95], accuracy_at_best_loops=[1, 1, 0.9, 0.5]
    )
    title = depth_more.title_of(numbers).replace("\n", " ")
    assert (
        "solves 2 with 6 loops, as in training, 4 with the best loop count (2 seeds, 500" in title
    )
    numbers["accuracy_at_best_loops"] = numbers["accuracy_at_trained_loops"]
    assert "solves 2 with 6 loops, as in training, and no more" in depth_more.title_of(
        numbers
    ).replace("\n", " ")
    numbers["accuracy_at_trained_loops"] = [1, 1, 1, 1]
    assert "solves 8, the hardest asked" in depth_more.title_of(numbers)
    numbers["accuracy_at_trained_loops"] = [1, 0.9, 0.2, 0.2]
    numbers["accuracy_at_best_loops"] = [1, 1, 1, 1]
    assert "8, the hardest asked, with the best" in depth_more.title_of(numbers)
    assert depth_more.hardest_solved(numbers, [0.5, 1, 1, 1]) == "none"
    assert depth_more.title_of(numbers).startswith("multihop, trained up to 2 hops: ")
    assert depth_more.title_of(numbers | dict(trained_difficulty=3)).startswith(
        "multihop, trained up to 3 hops: "
    )
    boards = dict(
        difficulty=[7, 32],
        difficulty_names=["7 rounds of singles", "search"],
        trained_difficulty=32,
    )
    assert "trained up to search: " in depth_more.title_of(
        numbers | boards | dict(accuracy_at_best_loops=[1, 0])
    )


def test_fits_find_the_curves_that_were_drawn():
    x = np.array([1, 2, 4, 8, 16])
    a, b, r2 = depth_more.fit_line(x, 3 + 0.5 * x)
    assert (a, b, r2) == pytest.approx((3, 0.5, 1)) and depth_more.fit_line(
        np.log2(x), 3 + 0.5 * x
    )[2] < 0.9
    L = np.arange(1, 31)
    fit = depth_more.fit_exponential(0.07 + 0.8 * np.exp(-0.3 * L))
    assert fit["e_inf"] == pytest.approx(0.07, abs=2e-3) and fit["k"] == pytest.approx(
        0.3, rel=0.03
    )
    assert fit["residual"] < 2e-3 < depth_more.fit_exponential(L % 2)["residual"]
    stairs = np.maximum(0.02, 1.05 - 0.15 * L)
    ramp = depth_more.fit_ramp(stairs)
    assert (ramp["e_inf"], ramp["a"], ramp["b"]) == pytest.approx((0.02, 1.05, 0.15)) and ramp[
        "residual"
    ] < 1e-9
    assert (
        depth_more.fit_exponential(stairs)["residual"]
        > 0.02
        < depth_more.fit_ramp(np.exp(-0.2 * L))["residual"]
    )


def test_names_at_the_ends_of_curves_do_not_touch():
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.3, 0.3, 0.9], 0.1) == pytest.approx([0.25, 0.35, 0.9])
    heights = spread(sorted([0.5, 0.52, 0.58, 0.59, 0.1, 0.11]), 0.1)
    assert min(np.diff(heights)) == pytest.approx(0.1) and np.mean(heights[2:]) == pytest.approx(
        0.5475
    )


# ---- compare


def test_compare_shows_the_depth_of_several_runs(runs, run, capsys, monkeypatch):
    for name in ("hops", "other"):
        run("depth", runs / name, "--loops", 6, "--examples", 20, "--factor", 4)
    run("compare", runs / "hops", runs / "other")
    numbers = json.loads((runs / "hops/compare.json").read_text())
    for name in ("hops", "other"):
        found = json.loads((runs / name / "depth.json").read_text())
        assert numbers["median"][name] == pytest.approx(found["accuracy_at_best_loops"], abs=1e-4)
    assert numbers["at"] == [4, 8] and (runs / "hops/compare.png").stat().st_size > 10_000
    monkeypatch.chdir(runs / "hops")  # a folder is known by its name, however it was given
    run("compare", ".", "../other", "--group", "seeds=other", "--at", 3)
    numbers = json.loads((runs / "hops/compare.json").read_text())
    assert numbers["groups"] == {"": ["hops"], "seeds": ["other"]} and numbers["at"] == [3]


def found_by_depth():
    """What compare reads of a depth.json: two difficulties, three seeds."""
    each = [dict(accuracy_at_best_loops=[accuracy, 0.5]) for accuracy in (0.1, 0.2, 0.9)]
    shared = dict(task="t", difficulty=[1, 2], trained_difficulty=1, examples=5, unit="u")
    return dict(**shared, seeds=[0, 1, 2], by_run=each)


def test_compare_takes_the_median_and_the_range_of_the_seeds():
    numbers = compare.gather(dict(a=found_by_depth()))
    assert [numbers[key]["a"] for key in ("median", "lowest", "highest")] == [
        [0.2, 0.5],
        [0.1, 0.5],
        [0.9, 0.5],
    ]
    assert compare.difficulties_at(numbers, []) == [2]


def test_compare_shows_the_difficulties_that_all_were_asked(capsys):
    fewer = found_by_depth() | dict(difficulty=[2], examples=9)
    fewer["by_run"] = [dict(accuracy_at_best_loops=[0.7])]
    numbers = compare.gather(dict(a=found_by_depth(), b=fewer))
    assert numbers["difficulty"] == [2] and numbers["median"] == dict(a=[0.5], b=[0.7])
    assert numbers["examples"] == dict(a=5, b=9)
    harder = found_by_depth() | dict(trained_difficulty=2)
    assert compare.gather(dict(a=found_by_depth(), b=harder))["trained_difficulty"] == 2
    with pytest.raises(SystemExit):
        compare.gather(dict(a=found_by_depth(), b=fewer | dict(difficulty=[3])))
    assert "no difficulty in common" in capsys.readouterr().err


def test_the_title_of_compare_says_who_solves_it():
    numbers = dict(
        difficulty=[1, 2],
        unit="u",
        trained_difficulty=1,
        task="t",
        seeds=dict(a=[0, 1], b=[0], c=[0]),
    )
    numbers["median"] = dict(a=[1, 0.95], b=[1, 0.3], c=[1, 0.92])
    assert compare.title_of(numbers, 1).startswith(
        "2 u are solved (0.9 right) by 2 of 3; next is b with 0.30\n"
    )
    assert "solved (0.9 right) by 3 of 3\n" in compare.title_of(numbers, 0)
    numbers["median"] = dict(a=[1, 0.1], b=[1, 0.3], c=[1, 0.2])
    assert compare.title_of(numbers, 1).startswith("right at 2 u: b 0.30, c 0.20\n")


@pytest.mark.parametrize(
    "argv, words",
    [
        (["a", "empty"], "empty has no depth.json"),
        (["a", "a"], "two of these folders are called a"),
        (["a", "another"], "differ in the task"),
        (["a", "b", "--group", "seeds"], "TITLE=NAME"),
        (["a", "b", "--group", "seeds=third"], "third, which is not one of the folders"),
        (["a", "b", "--group", "seeds=a,a"], "in two groups"),
        (["a", "b", "--at", "99"], "99 was not measured"),
    ],
)
def test_compare_refuses_what_cannot_be_compared(run, capsys, monkeypatch, tmp_path, argv, words):
    for name, task in dict(a="t", b="t", another="u").items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "depth.json").write_text(json.dumps({**found_by_depth(), "task": task}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run("compare", *argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error
