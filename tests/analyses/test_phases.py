"""The phases of grokking, the logit lens and activation patching, on a tiny world."""

import json

import pytest
import torch

from analyses.lens import draw_lens, measure_lens, measure_patching
from analyses.phases import PHASES, accuracy_on, draw_phases, ends_of_phases, lasting, pooled
from train import load_model


def test_phases_reads_the_curves_and_the_end(runs, run):
    run("phases", runs / "facts")
    (found,) = json.loads((runs / "facts/phases.json").read_text())["runs"]
    rows = [json.loads(line) for line in (runs / "facts/metrics.jsonl").read_text().splitlines()]
    assert found["curves"]["alone"] == [row["alone"]["2"] for row in rows]
    assert found["loops"] == 4
    model, task, _ = load_model(runs / "facts")
    batch = task.batch("alone_test", 0, len(task.listed["alone_test", 2]), 2)
    right = task.check(batch, model(batch.tokens, 4).argmax(-1)).float().mean().item()
    assert accuracy_on(model, task, "alone_test", 4) == pytest.approx(right)
    assert found["end"]["alone_test"] == pytest.approx(right)
    assert (runs / "facts/phases.png").stat().st_size > 10_000


def test_phases_of_an_untied_run_read_each_of_its_layers(runs, run, tmp_path):
    import train

    flags = "--task composition --entities 12 --relations 3 --alone 0.3 --no-tied --loops 4 "
    flags += "--sampler fixed --steps 2 --batch 8 --eval_size 8 --n_embd 16 --n_head 2"
    train.main([*flags.split(), "--device", "cpu", "--out", str(tmp_path / "untied")])
    run("phases", tmp_path / "untied", runs / "facts")
    untied, looped = json.loads((tmp_path / "untied/phases.json").read_text())["runs"]
    assert untied["kind"].startswith("4 layers") and looped["kind"].startswith("looped")
    assert untied["loops"] == 4 and not (tmp_path / "untied/lens.json").exists()


def test_the_lens_reads_the_states(runs):
    model, task, _ = load_model(runs / "facts")
    batch = task.batch("alone", 0, len(task.listed["alone", 2]), 2)
    with torch.no_grad():
        (bridge_1, bridge_2, answer), cosine = measure_lens(model, task, "alone", 4)
        h = model.think(batch.tokens, 3)
        read = model.readout(h).argmax(-1)
    bridges = [task.facts[r - 12, e].item() for e, r, _ in batch.tokens.tolist()]
    answers = [task.facts[r - 12, b].item() for b, (_, _, r) in zip(bridges, batch.tokens.tolist())]

    def share(found, expected):
        return sum(a == b for a, b in zip(found.tolist(), expected)) / len(expected)

    assert bridge_1[3] == pytest.approx(share(read[:, 1], bridges))
    assert bridge_2[3] == pytest.approx(share(read[:, 2], bridges))
    assert answer[3] == pytest.approx(share(read[:, 2], answers))
    embeddings = model.embed.weight[torch.tensor(bridges)]
    size = embeddings.pow(2).mean(1, keepdim=True).sqrt()
    embeddings = embeddings / size * model.prelude_norm.weight  # as a question gives them
    expected = (h[:, 1] * embeddings).sum(1) / h[:, 1].norm(dim=1) / embeddings.norm(dim=1)
    assert cosine[3] == pytest.approx(expected.mean().item(), abs=1e-5)


@torch.no_grad()
def test_patching_replaces_the_state_behind_the_first_hop(runs):
    model, task, _ = load_model(runs / "facts")
    batch = task.batch("alone", 0, len(task.listed["alone", 2]), 2)
    right = task.check(batch, model(batch.tokens, 4).argmax(-1)).float().mean().item()
    assert measure_patching(model, task, "alone", 4, 0) == pytest.approx(right)
    # all of the state is replaced: loop 2 meets what a one-hop question shows it
    h, e, positions = model.begin(batch.tokens)
    h = model.loop(h, e, 0, positions)
    found = model.readout(h)[:, 1, :12].argmax(-1)
    as_given = model.prelude_norm(model.embed(found))
    h[:, 1] = as_given / as_given.norm(dim=1, keepdim=True) * h[:, 1].norm(dim=1, keepdim=True)
    for t in (1, 2, 3):
        h = model.loop(h, e, t, positions)
    expected = task.check(batch, model.readout(h).argmax(-1)).float().mean().item()
    assert measure_patching(model, task, "alone", 4, 1) == pytest.approx(expected)


def test_the_lens_is_drawn_for_the_first_seed_of_each_kind(tmp_path):
    names = [name for name, _ in PHASES.values()]

    def look(kind, seed, name, share):
        table = [[0.0, 0.5, share]] * 3
        lens = {name: dict(val=(table, [0, 0.1, 0.9]), alone=(table, [0, 0, share]))}
        return dict(kind=kind, seed=seed, lens=lens, patched={0: 0.1, 1: share})

    looks = [
        look("looped", 0, names[0], 0.97),
        look("looped", 1, names[1], 0.98),
        look("plain", 0, names[2], 0.99),
    ]
    figure = draw_lens(looks)
    rows = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert len(figure.axes) == 8 and rows[0].startswith("looped") and rows[1].startswith("plain")
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert "0.97" in texts and "0.99" in texts
    assert "0.98" not in texts  # the lens is of the first seed alone
    figure.savefig(tmp_path / "lens.png")


def test_the_kind_that_composes_best_is_drawn_large():
    def found(kind, seed, end):
        curves = dict(train=[0.5, 1.0], val=[0.1, 0.9], alone=[0.0, end])
        reached = dict(train=20, val=None, alone=None)
        ends = dict(test=1.0, alone_test=end)
        return dict(kind=kind, seed=seed, steps=[10, 20], curves=curves, reached=reached, end=ends)

    figure = draw_phases([found("plain", 0, 0.2), found("good", 0, 0.95), found("good", 1, 0.97)])
    large, small = figure.axes
    assert large.get_title().startswith("good: ID 1.00, OOD 0.96")
    assert small.get_title().startswith("plain")
    assert "only “good”" in figure.get_suptitle() and "1 to 2 seeds" in figure.get_suptitle()


def test_a_level_is_reached_where_it_lasts():
    assert lasting([1, 2, 3, 4], [0.95, 0.5, 0.9, 0.95]) == 3
    assert lasting([1, 2, 3], [0.1, 0.5, 0.95]) is None


def test_the_end_of_a_phase_is_the_last_evaluation_before_the_next_begins():
    found = dict(steps=[10, 20, 30, 40], reached=dict(train=10, val=30, alone=None))
    assert list(ends_of_phases(found).values()) == [20, 40]
    assert ends_of_phases(dict(steps=[10], reached=dict(train=None, val=None, alone=None))) == {}


def test_worlds_are_pooled_by_their_questions():
    runs = [
        dict(questions=dict(alone_test=30), end=dict(alone_test=1.0)),
        dict(questions=dict(alone_test=10), end=dict(alone_test=0.5)),
    ]
    found = pooled(runs, "alone_test")
    assert found["share"] == 35 / 40 and found["questions"] == 40
    for end in (found["low"], found["high"]):  # what was seen is 1.96 standard errors away from it
        standard_error = (end * (1 - end) / 40) ** 0.5
        assert abs(end - 35 / 40) / standard_error == pytest.approx(1.96)
