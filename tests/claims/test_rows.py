"""The table of numbers against lists, and its words."""

import pytest

from claims.rows import Table, in_words, said

SEEDS = [
    [
        dict(model="ACT", hops=1, right=1.0, halts=2.0),
        dict(model="ACT", hops=4, right=right, halts=4.6, curve=[0.1, right]),
        dict(model="last state", hops=4, right=0.5),
        dict(model="last state", parameters=51276),
    ]
    for right in (0.75, 0.25, 0.5)
]


def test_a_number_is_found_by_what_its_row_says():
    table = Table(SEEDS)
    assert table.values("right", model="ACT", hops=4) == [0.75, 0.25, 0.5]
    assert table.median("right", model="ACT", hops=4) == 0.5
    assert table.median("curve", model="ACT").tolist() == [0.1, 0.5]
    assert table.values("parameters", model="last state") == [51276] * 3
    assert table.values("right", model="ACT", hops=(3, 4)) == [0.75, 0.25, 0.5]
    assert table.medians("right", over="hops", model="ACT") == {1: 1.0, 4: 0.5}
    assert table.medians("right", over="model", hops=4) == {"ACT": 0.5, "last state": 0.5}
    for where in (dict(model="ACT"), dict(model="ACT", hops=3), dict(form="ACT")):
        with pytest.raises(KeyError, match="rows have a column 'right'"):
            table.values("right", **where)


def test_each_seed_has_a_table():
    found = [each.values("right", model="ACT", hops=4) for each in Table(SEEDS).each_seed()]
    assert found == [[0.75], [0.25], [0.5]]


def test_a_column_has_its_values_once_and_in_order():
    table = Table(SEEDS)
    assert table.column("model") == ["ACT", "last state"]
    assert table.column("hops") == [1, 4] and table.column("hops", model="last state") == [4]
    assert table.column("model", beside=["halts"]) == ["ACT"]
    assert table.column("hops", beside=["parameters"]) == []


def test_val_chooses_by_the_median_of_the_seeds():
    norms = dict(pre=(0.1, 0.9, 0.5), post=(0.4, 0.4, 0.6), sandwich=(0.3, 0.3, 0.3))
    by_seed = [
        [
            dict(model="loop", norm=norm, on_val=each[seed], right=0.0)
            for norm, each in norms.items()
        ]
        + [dict(model="stack", norm="pre", on_val=1.0, right=1.0)]
        for seed in range(3)
    ]
    table = Table(by_seed)
    assert table.liked("norm", model="loop") == dict(model="loop", norm="pre")
    lowest = table.liked("norm", lowest=True, model="loop")
    assert lowest == dict(model="loop", norm="sandwich")
    kept = table.only([lowest, dict(model="stack")])
    assert kept.values("right", model="stack") == [1.0] * 3
    assert kept.column("norm") == ["sandwich", "pre"] and kept.column("norm", model="loop") == [
        "sandwich"
    ]


def test_words():
    table = Table(SEEDS)
    assert table.said("right", model="ACT", hops=4) == "0.50 [0.25, 0.75]"
    assert table.said("right", 1, model="ACT", hops=1) == "1.0"
    assert said([1200, 1300.4, 1250], 0) == "1,250 [1,200, 1,300]"
    assert in_words("hops", 1) == "1 hop" and in_words("hops", 12) == "12 hops"
    assert in_words("rank", 16) == "rank 16" and in_words("model", "ACT") == "ACT"
    assert table.tell(["model"], dict(right=2, halts=1), hops=4) == (
        "ACT 0.50 [0.25, 0.75] (halts 4.6); last state 0.50"
    )
    assert table.tell(["model", "hops"], dict(right=1)) == (
        "ACT: 1 hop 1.0, 4 hops 0.5 [0.2, 0.8]; last state: 4 hops 0.5"
    )
    assert table.tell(["model"], dict(parameters=0)) == "last state 51,276"


def test_pictures_show_the_medians_and_the_seeds():
    from support.figures import plt

    _, (left, middle, right) = plt.subplots(1, 3)
    table = Table(SEEDS)
    table.plot(left, "hops", "right", label="ACT", model="ACT")
    line, *points = left.lines
    assert line.get_xdata().tolist() == [1, 4] and line.get_ydata().tolist() == [1, 0.5]
    assert sorted(point.get_ydata()[1] for point in points) == [0.25, 0.5, 0.75]
    table.curves(middle, "curve", first=0, label="ACT", model="ACT")
    assert [curve.get_ydata()[1] for curve in middle.lines] == [0.75, 0.25, 0.5]
    assert [curve.get_label() for curve in middle.lines][0] == "ACT"
    assert middle.lines[1].get_label() != "ACT" and middle.lines[0].get_xdata().tolist() == [0, 1]
    table.bars(right, "right", group="model", kind="hops", hops=4)
    assert [bar.get_height() for bar in right.patches] == [0.5, 0.5]
    assert [label.get_text() for label in right.get_xticklabels()] == ["ACT", "last state"]
