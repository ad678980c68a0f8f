"""The functions with which the claims measure and judge, each against something counted by hand."""

import copy
import math
import re
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from helpers import build, tokens
from torch.nn import functional as F

from claims import (
    capo,
    coconut,
    equilibrium,
    huginn,
    layer_duplication,
    long_sums,
    mixture_of_recursions,
    ouro,
    parcae,
    ptrm,
    recursive_calls,
    regression,
    self_improvement,
)
from claims.facts import Facts
from claims.reach import Reach
from claims.rows import Table
from looped import Config, LoopedGPT
from papers.equilibrium import Equilibrium, EquilibriumConfig
from papers.layer_duplication import DuplicationConfig
from papers.ouro import Ouro, OuroConfig
from papers.parcae import Parcae, ParcaeConfig
from support.fast import speed_up
from tasks import IGNORE, Addition, MultiHop, Sudoku

# ---- capo


class Knows:
    """Is sure of the facts of names whose first letter is below `letters`, and guesses the rest."""

    def __init__(self, task, letters):
        self.task, self.letters = task, letters

    def __call__(self, tokens):
        known = F.one_hot(self.task.answer(tokens)[:, -1], self.task.vocab_size) * 100.0
        logits = torch.where(tokens[:, :1] < self.letters, known, 0.0)
        no_value = torch.arange(self.task.vocab_size) >= self.task.values
        return logits.masked_fill(no_value, -1e9)[:, None]


@pytest.mark.parametrize("letters", [0, 16, 32])
def test_the_bits_of_what_is_known(letters):
    task = Facts()
    expected = 4096 * 6 * letters / 32
    assert capo.bits(Knows(task, letters), task) == pytest.approx(expected, abs=1)


def test_to_be_wrong_for_sure_costs_bits():
    task = Facts(letters=2, attributes=1, values=4)
    wrong = SimpleNamespace(vocab_size=4, values=4, answer=lambda each: (task.answer(each) + 1) % 4)
    assert capo.bits(Knows(wrong, 2), task) < -4 * math.log2(4)


# ---- coconut


@torch.no_grad()
def test_of_the_two_nodes_the_likelier_one_is_chosen():
    task, model = Reach(), build(vocab_size=18 + 1 + 18**2)
    batch = task.batch("test", 0, 40, 3)
    (first, *_), _ = task.back(batch.tokens)
    wanted = []
    for text, (one, other) in zip(batch.tokens, first.tolist()):
        logits = model(text[None])[0, -1]
        wanted.append(one if logits[one] > logits[other] else other)
    assert coconut.chosen(model, batch.tokens).tolist() == wanted
    assert {*first[:, 0].tolist()} & {*wanted} and wanted != first[:, 0].tolist()


# ---- equilibrium


@torch.no_grad()
def test_restarts_are_runs_of_their_own():
    model = build(model=Equilibrium, config=EquilibriumConfig, noise=0)
    plain = build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(7)
    boards, movement = equilibrium.restart(model, tokens(), 5, 3)
    assert boards.shape == (3, *tokens().shape)
    assert movement.unique(dim=0).shape == movement.shape
    torch.manual_seed(7)
    _, e, positions = plain.begin(tokens())
    states = [torch.randn_like(e)]
    for _ in range(5):
        after = plain.core[0](states[-1] + e, positions)
        states.append(0.05 * states[-1] + 0.95 * after)
    moved = []
    for before, h in zip(states[2:], states[3:]):
        moved.append(torch.stack([(b - a).norm() / b.norm() for a, b in zip(before, h)]))
    assert torch.allclose(movement[0], sum(moved), atol=1e-5) and len(moved) == 3
    said = model.readout(states[-1]).argmax(-1)
    assert torch.equal(boards[0], torch.where(tokens() > 0, tokens(), said))


@pytest.mark.parametrize("size", (1, 2, 4))
def test_the_choice_among_starts(banks, size):
    task = Sudoku(puzzles=300, banks=str(banks))
    grids = task.bank["test"]["grid"][:6]
    generator = torch.Generator().manual_seed(0)
    boards = grids.repeat(8, 1, 1)
    spoilt = torch.rand(8, 6, generator=generator) < 0.6
    boards[:, :, 0] = torch.where(spoilt, boards[:, :, 0] % 4 + 1, boards[:, :, 0])
    movement = torch.rand(8, 6, generator=generator)
    wanted = dict(stillest=0, vote=0, oracle=0)
    for puzzle in range(6):
        for group in range(0, 8, size):
            members = range(group, group + size)
            said = {i: tuple(boards[i, puzzle].tolist()) for i in members}
            (most_common, _), *_ = Counter(said.values()).most_common()
            stillest = min(members, key=lambda i: movement[i, puzzle])
            winner = next(i for i in members if said[i] == most_common)
            wanted["stillest"] += not spoilt[stillest, puzzle]
            wanted["vote"] += not spoilt[winner, puzzle]
            wanted["oracle"] += not all(spoilt[i, puzzle] for i in members)
    found = equilibrium.choices(task, boards, movement, size)
    groups = 6 * 8 / size
    assert found == pytest.approx({name: right / groups for name, right in wanted.items()})


# ---- ptrm


def test_the_head_takes_the_run_it_trusts_most(banks):
    task = Sudoku(puzzles=300, banks=str(banks))
    boards = task.bank["test"]["grid"][:2].repeat(4, 1, 1)  # four runs of two puzzles
    for run, puzzle in ((0, 0), (2, 0), (1, 1)):
        boards[run, puzzle, :2] = boards[run, puzzle, :2] % 4 + 1  # a wrong answer
    confidence = torch.tensor([[9.0, 1.0], [2.0, 2.0], [3.0, 3.0], [1.0, 4.0]])
    found = ptrm.chosen(task, boards, confidence, 4)
    assert found == dict(head=0.5, vote=found["vote"], oracle=1.0) and found["vote"] >= 0.5
    assert ptrm.chosen(task, boards, confidence, 2) == dict(head=0.25, vote=0.5, oracle=1.0)
    assert ptrm.chosen(task, boards, confidence, 1)["head"] == 5 / 8


# ---- huginn


@pytest.mark.parametrize(
    "curve", [[0.1, 0.5, 0.99, 1.0, 0.98], [1.0, 0.2, 1.0, 1.0], [0.5, 0.5], [0.0, 0.0, 1.0]]
)
def test_the_plateau_is_where_the_curve_stays_near_its_end(curve):
    near = [abs(each - curve[-1]) <= 0.02 or each > curve[-1] for each in curve]
    expected = next(t for t in range(1, len(curve) + 1) if all(near[t - 1 :]))
    length = len(curve)
    found = [[dict(hops=3, curve=each)] for each in (curve, [0.0] * length, [2.0] * length)]
    assert huginn.plateau(Table(found).median("curve", hops=3)) == expected


def test_two_starts_end_alike_if_the_loop_forgets_its_start():
    task = MultiHop(hops=2)
    forgets = build(vocab_size=task.vocab_size)
    keeps = build(vocab_size=task.vocab_size, injection="none", norm="pre")
    forgets.loop = lambda h, e, t, positions: 0.5 * h + e
    keeps.loop = lambda h, e, t, positions: h
    assert huginn.ends(forgets, task, seed=0)[0] == pytest.approx(1, abs=1e-5)
    assert abs(huginn.ends(keeps, task, seed=0)[0]) < 0.1
    assert huginn.ends(keeps, task, seed=0) == huginn.ends(keeps, task, seed=0)


@pytest.mark.parametrize(
    "right, expected",
    [([1.0, 0.99, 0.98], "yes"), ([0.9, 0.92, 0.8], "no"), ([0.97, 0.93, 0.94], "")],
)
def test_an_exit_that_costs_accuracy_is_none(right, expected):
    by_seed = []
    for each in right:
        rows = []
        for name in huginn.MODELS:
            for hops in (*huginn.TRAINED, huginn.HARD):
                curve = [0.0] * hops + [1.0]
                row = dict(model=name, hops=hops, loops_at_exit=hops, by_loop=curve)
                rows.append(row | dict(at_last=1.0, right_at_exit=each))
            rows.append(dict(model=name, same_end=1.0, right_from_noise=1.0))
        by_seed.append(
            [
                row | dict(by_loop=row["by_loop"] + [1.0] * 20) if "by_loop" in row else row
                for row in rows
            ]
        )
    answers = {part.name: part.answer for part in huginn.judge(Table(by_seed))[1]}
    answer = answers["the exit loses nothing"]
    assert answer == expected if expected else "noise" in answer
    assert answers["a later plateau for 12 hops than for 1"] == "yes"


def test_the_starts_come_from_the_seed():
    torch.manual_seed(5)
    task, model = MultiHop(hops=2), build(vocab_size=24 + 4 + 1, state_init="noise")
    first = huginn.ends(model, task, seed=1)
    torch.manual_seed(6)
    assert huginn.ends(model, task, seed=1) == first != huginn.ends(model, task, seed=2)


# ---- in-context regression


def test_prompts_hide_what_is_asked():
    tokens, y = regression.prompts(3, "val", 7, 50)
    assert torch.equal(tokens, regression.prompts(3, "val", 7, 50)[0])
    assert not torch.equal(tokens, regression.prompts(3, "test", 7, 50)[0])
    assert (tokens[:, 8:, 4] == 0).all() and torch.equal(tokens[:, :8, 4], y[:, :8])
    w = torch.linalg.lstsq(tokens[:, :8, :4].double(), y[:, :8, None].double()).solution
    said = (tokens[..., :4].double() @ w)[..., 0]
    assert torch.allclose(said, y.double(), atol=1e-3)  # one w for a prompt


def test_the_references():
    tokens, y = regression.prompts(0, "test", 0, 20)
    assert regression.least_squares(tokens, y) < 1e-6
    rate, errors = 0.1, []
    for row, values in zip(tokens[:, :, :4], y):
        w = torch.zeros(4, requires_grad=True)
        for _ in range(3):
            (gradient,) = torch.autograd.grad(F.mse_loss(row[:8] @ w, values[:8]) / 2, w)
            w = (w - rate * gradient).detach().requires_grad_()
        errors.append(F.mse_loss(row[8:] @ w, values[8:]).item())
    found = regression.gradient_descent(tokens, y, 3, rate)[-1]
    assert found == pytest.approx(sum(errors) / 20 / 4, rel=1e-4)


# ---- layer duplication


def test_the_map_has_each_span_in_its_place():
    class Task:
        def check(self, batch, prediction):
            return prediction

    class Batch:
        tokens = None

    class Model:
        config = DuplicationConfig(vocab_size=4)

        def __call__(self, asked, loops):
            config = self.config
            helps = float(config.times == 2 and (config.first, config.last) == (2, 4))
            return torch.tensor([[1 - helps, helps], [1.0, 0.0]])

    found = layer_duplication.changes(Model(), Task(), Batch(), 0.5)
    spans = [span for span, change in zip(layer_duplication.SPANS, found) if change]
    assert spans == [(2, 4)] and max(found) == 0.5
    assert (Model.config.times, Model.config.damping) == (1, 1.0)


# ---- mixture of recursions


def test_a_hard_digit_is_one_directly_above_a_sum_of_nine():
    def think(tokens):
        """As many loops as the two digits below add up to, where a digit is read; 99 elsewhere."""
        taken = torch.full((*tokens.shape, 3), 99.0)
        for row, text in enumerate(tokens.tolist()):
            pairs = list(zip(text[1:-1:2], text[2:-1:2]))
            for place, pair in enumerate(pairs, 1):
                above = 2 * place + 2 if place < len(pairs) else -1
                taken[row, above, -2] = sum(pair)
        return taken

    model = SimpleNamespace(think=think, config=SimpleNamespace(loops=7, route=""))
    lab = SimpleNamespace(
        seed=0,
        examples=200,
        train=lambda *_, **__: (model, Addition(digits=5), None),
        by_loop=lambda *_: [1.0],
    )
    found = Table([list(mixture_of_recursions.measure(lab))])
    assert found.values("hard", model="expert choice") == [9]
    assert found.median("easy", model="expert choice") not in (9, 99)
    assert 8 < found.median("easy", model="token choice") < 10
    assert found.values("easy", model="all 4") == found.values("hard", model="all 4") == [4]


# ---- ouro


def test_the_second_stage_moves_the_gate_alone_and_learns_when_to_go_on():
    task = MultiHop(hops=2, entities=4, relations=2)
    model = build(model=Ouro, config=OuroConfig, vocab_size=task.vocab_size)
    second = copy.deepcopy(model)
    ouro.stage_two(second, task, 25)
    both = zip(model.named_parameters(), second.parameters())
    moved = {name for (name, one), two in both if not torch.equal(one, two)}
    assert moved == {"gate.weight", "gate.bias"}

    batch = task.batch("val", 0, 64)
    asked = batch.targets != IGNORE
    states = model.trajectory(batch.tokens, ouro.L)[1:]
    targets = batch.targets[asked][:, None]
    nats = [-model.readout(h)[asked].log_softmax(-1).gather(1, targets)[:, 0] for h in states]
    wanted = []
    for one, two in zip(nats, nats[1:]):
        wanted.append(1 / (1 + torch.exp(-50 * (torch.relu(one - two) - 0.005))))

    def surprise(gated):
        lambdas = [gated.stop(h[asked]) for h in states[1:]]
        terms = [w * (1 - x).log() + (1 - w) * x.log() for w, x in zip(wanted, lambdas)]
        return -torch.stack(terms).mean().item()

    assert surprise(second) < surprise(model) - 0.01


def test_an_answer_needs_the_loops_till_it_is_right_and_stays_so():
    task = MultiHop(hops=2, entities=3, relations=4)  # a guess is often right
    model = build(model=Ouro, config=OuroConfig, vocab_size=task.vocab_size)
    batch, needed, right = task.batch("test", 0, 200), [], []
    answers = [model(batch.tokens, loops).argmax(-1) for loops in range(1, ouro.L + 1)]
    history = torch.stack([task.check(batch, each) for each in answers], dim=1).tolist()
    for each in history:
        count = ouro.L
        while count > 1 and all(each[count - 2 :]):
            count -= 1
        needed.append(count)
        right.append(each[-1])
    found = ouro.needed_loops(model, task, 200)
    assert found["loops"] == pytest.approx(sum(needed) / 200) and len({*needed}) > 1
    assert found["right"] == pytest.approx(sum(right) / 200)


def test_the_cheapest_of_those_that_are_right_enough():
    rows = [dict(right=0.9, loops=2), dict(right=0.96, loops=5), dict(right=0.97, loops=4)]
    assert ouro.cheapest(rows, 0.95) == 2 and ouro.cheapest(rows, 0.9) == 0
    assert ouro.cheapest(rows, 0.99) == 2  # none is, so the most right


# ---- parcae


@pytest.mark.parametrize("loops", [2, 3, 8])
def test_the_price_of_a_step_is_that_of_the_blocks_that_ran(loops):
    sizes = dict(norm="pre", loops=loops, backprop_loops=parcae.half(loops))
    model, ran = speed_up(build(model=Parcae, config=ParcaeConfig, **sizes)), []
    model.core[0].register_forward_hook(lambda *_: ran.append(torch.is_grad_enabled()))
    model.loss(tokens(), tokens(2), loops)
    assert parcae.cost(loops) == len(ran) + 2 * sum(ran)  # a backward pass counts as two


def losses(loss_of):
    return [dict(budget=100, loops=loops, loss=loss_of(loops)) for loops in parcae.LOOPS]


@pytest.mark.parametrize("loops", [2, 5, 16])
def test_the_best_loops_are_the_lowest_point(loops):
    valley = losses(lambda each: math.exp((math.log2(each) - math.log2(loops)) ** 2 - 3))
    assert parcae.best(Table([valley]), 100) == pytest.approx(loops)


def test_beyond_what_was_tried_the_last_one_is_the_best():
    assert parcae.best(Table([losses(lambda each: 1 / each**2)]), 100) == parcae.LOOPS[-1]
    assert parcae.best(Table([losses(float)]), 100) == parcae.LOOPS[0]


@pytest.mark.parametrize("small, large, grows", [(2, 8, "yes"), (8, 2, "no"), (8, 8, None)])
@pytest.mark.parametrize("flat", [True, False])
def test_growth_and_what_comes_beyond_the_training(small, large, grows, flat):
    rows = []
    for budget in parcae.BUDGETS:
        lowest = large if budget == parcae.BUDGETS[-1] else small
        for loops in parcae.LOOPS:
            loss = 0.01 * math.exp((math.log2(loops) - math.log2(lowest)) ** 2 / 9)
            rows.append(dict(budget=budget, loops=loops, loss=loss))
    falling = [2.0 - 0.01 * t for t in range(64)]
    for trained in parcae.LOOPS:
        curve = [2.0] + 63 * [1.0] if flat or trained == 4 else falling
        rows.append(dict(trained=trained, loss_by_loop=curve))
    ours, [growth] = parcae.judge(Table([rows] * 3))
    assert growth.answer == (grows or "no difference seen")
    beyond = re.findall(r"trained on \d+: ([\d.]+) of what loops gain", ours)
    assert [float(each) > 0 for each in beyond] == [not flat, False, not flat, not flat]


# ---- recursive calls


def test_calls_hand_the_answer_on():
    task = MultiHop()

    def knows(tokens, loops):
        """Logits of a model that is always right, and is asked for at most six hops."""
        assert tokens.shape[1] <= 7 and loops == 9
        return F.one_hot(task.walk(tokens), task.vocab_size).float()

    for hops in (5, 8, 16, 21):
        batch = task.batch("test", 0, 50, hops)
        answers = recursive_calls.answer_by_calls(knows, batch.tokens, 6, 9)
        assert torch.equal(answers, batch.targets[:, -1])


def test_an_error_in_one_call_stays():
    task, asked = MultiHop(), []

    def errs(tokens, loops):
        """Wrong in the first call alone; the calls after it walk on from where it ended."""
        asked.append(tokens)
        says = (task.walk(tokens) + (len(asked) == 1)) % task.entities
        return F.one_hot(says, task.vocab_size).float()

    batch = task.batch("test", 0, 200, 24)
    right = recursive_calls.answer_by_calls(errs, batch.tokens, 6, 9) == batch.targets[:, -1]
    assert right.float().mean() < 0.15  # by chance alone


# ---- self-improvement


class Adds:
    """Adds as told; where the first number is even, a + b and b + a differ."""

    def __init__(self, task):
        self.task = task

    def __call__(self, tokens, loops):
        said = self.task.answer(tokens)
        said[:, 2] = torch.where(tokens[:, 1] % 2 == 0, (said[:, 2] + 1) % 10, said[:, 2])
        return F.one_hot(said.clamp(min=0), 13).float()


def test_a_label_is_kept_if_both_orders_agree():
    task = long_sums.LongSums(digits=4)
    batch = task.batch("train", 0, 200, 4)
    said, agree = self_improvement.label(Adds(task), batch.tokens, batch.targets != IGNORE)
    even = batch.tokens[:, 1:3] % 2 == 0  # of the lowest digits of both
    assert torch.equal(agree, even[:, 0] == even[:, 1])
    assert torch.equal((said == batch.targets).all(1), ~even[:, 0])


@pytest.mark.parametrize(
    "keep, share, learns_from",
    [
        ("all labels", 1, 30),
        ("labels that agree", 1 / 3, 30),
        ("labels that are right", 0, 0),
        ("no labels", 1, 0),
    ],
)
def test_only_kept_labels_are_learned_and_the_teacher_stays(keep, share, learns_from, monkeypatch):
    task = long_sums.LongSums(digits=3)
    model = build(vocab_size=13, loops=2)
    before = [p.clone() for p in model.parameters()]
    seen, loss = [], LoopedGPT.loss

    def spy(self, tokens, *rest):
        seen.append(tokens)
        return loss(self, tokens, *rest)

    def labels_a_third(model, tokens, answers):
        return tokens, torch.arange(len(tokens)) % 3 == 0

    monkeypatch.setattr(LoopedGPT, "loss", spy)
    monkeypatch.setattr(self_improvement, "label", labels_a_third)
    _, rows = self_improvement.improve(model, task, keep, 30, 3, 5)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters()))
    assert Table([rows]).values("kept", labels=keep, digits=4) == [pytest.approx(share)]
    assert {len(tokens) for tokens in seen} == {48}  # whatever is kept
    longer = [tokens for tokens in seen if (task.measure(tokens) > 3).any()]
    assert len(longer) == (6 if learns_from else 0) and isinstance(model.config, Config)
    own = set()
    for text in longer:
        own |= {tuple(row) for row in text[task.measure(text) == 4].tolist()}
    lessons = task.batch("train", 4, 30, 4).tokens
    kept = lessons if keep == "all labels" else lessons[::3]
    assert {row[: kept.shape[1]] for row in own} <= {tuple(row) for row in kept.tolist()}


def test_how_far_nine_tenths_are_right():
    curves = ([1.0, 0.95, 0.9, 0.5], [1.0, 0.8, 1.0, 1.0], [0.5, 1.0, 1.0, 1.0])
    by_seed = [
        [dict(model="m", digits=10 + i, right=right) for i, right in enumerate(curve)]
        for curve in curves
    ]
    assert self_improvement.reach(Table(by_seed), "m") == [12, 10, 9]
