"""Long sums against int; and what is learned from whom."""

import pytest
import torch
from helpers import build, paper

from looped import Config, LoopedGPT
from tasks import IGNORE

module, long_sums = paper("self_improvement"), paper("long_sums")


def test_the_sums_are_those_of_python():
    task = long_sums.LongSums(digits=4)
    for difficulty in (None, 1, 3, 9):
        batch = task.batch("test", 0, 60, difficulty)
        for tokens, targets, digits in zip(*(part.tolist() for part in batch)):
            n = (tokens.index(10) - 1) // 2
            a, b = (int("".join(map(str, tokens[first : 2 * n + 1 : 2][::-1]))) for first in (1, 2))
            said = [targets[place] for place in (*range(2, 2 * n + 1, 2), 2 * n + 1)]
            assert int("".join(map(str, said[::-1]))) == a + b and digits == n == difficulty or difficulty is None
            assert sum(target != IGNORE for target in targets) == n + 1
            assert set(tokens[2 * n + 2 :]) <= {long_sums.PAD} and tokens[0] == 11
            assert task.show(torch.tensor(tokens), torch.tensor(targets)) == f"{a:0{n}}+{b:0{n}}={a + b:0{n + 1}}"


def test_a_question_keeps_its_split_when_it_is_padded():
    tokens = long_sums.LongSums(digits=4).batch("val", 0, 50, 4).tokens
    wide = torch.nn.functional.pad(tokens, (0, 6), value=long_sums.PAD)
    assert long_sums.LongSums(digits=7).belongs(wide, "val").all()
    assert not long_sums.LongSums(digits=7).belongs(wide, "test").any()


class Oracle:
    """Adds as told; where the first number is even, a + b and b + a differ."""

    def __init__(self, task):
        self.task = task

    def __call__(self, tokens, loops):
        said = self.task.answer(tokens)
        said[:, 2] = torch.where(tokens[:, 1] % 2 == 0, (said[:, 2] + 1) % 10, said[:, 2])
        return torch.nn.functional.one_hot(said.clamp(min=0), 13).float()


def test_a_label_is_kept_if_both_orders_agree():
    task = long_sums.LongSums(digits=4)
    batch = task.batch("train", 0, 200, 4)
    said, agree = module.label(Oracle(task), batch.tokens, batch.targets != IGNORE)
    even = batch.tokens[:, 1:3] % 2 == 0  # of the lowest digits of both
    assert torch.equal(agree, even[:, 0] == even[:, 1]) and torch.equal((said == batch.targets).all(1), ~even[:, 0])


@pytest.mark.parametrize("keep, learns_from", [("all labels", 30), ("labels that agree", 30), ("no labels", 0)])
def test_only_kept_labels_are_learned_and_the_teacher_stays(keep, learns_from, monkeypatch):
    task = long_sums.LongSums(digits=3)
    model = build(vocab_size=13, loops=2)
    before = [p.clone() for p in model.parameters()]
    seen = []
    loss = LoopedGPT.loss
    monkeypatch.setattr(LoopedGPT, "loss", lambda self, tokens, *rest: seen.append(tokens) or loss(self, tokens, *rest))
    monkeypatch.setattr(module, "label", lambda model, tokens, answers: (tokens, torch.arange(len(tokens)) % 3 == 0))
    _, labels = module.improve(model, task, keep, 30, 3, 5)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters()))
    assert labels[4][1:2] == [1.0 if keep == "all labels" else pytest.approx(1 / 3)]
    assert {len(tokens) for tokens in seen} == {48}  # whatever is kept
    longer = [tokens for tokens in seen if (task.measure(tokens) > 3).any()]
    assert len(longer) == (6 if learns_from else 0) and isinstance(model.config, Config)
    own = {tuple(row) for tokens in longer for row in tokens[task.measure(tokens) == 4].tolist()}
    lessons = task.batch("train", 4, 30, 4).tokens
    kept = lessons if keep == "all labels" else lessons[::3]
    assert {row[: kept.shape[1]] for row in own} <= {tuple(row) for row in kept.tolist()}
