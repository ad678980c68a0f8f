"""page: the model in JavaScript against PyTorch, and the page in a real browser."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from browser import CHROMIUM, Browser
from helpers import BOARD, STEPS, TEXT_POSITIONS, TINY, build, main, refused, tokens

from analyses import exits, page
from analyses.common import difficulties_of
from looped import LoopedGPT, init_weights
from more_tasks.chains import Chains, EdgeEmbedding
from tasks import IGNORE, Addition, MultiHop, Sudoku
from train import load_model

NODE = shutil.which("node")
PARTS = ("loop", "tasks", "watch", "train")
SCRIPTS = "".join((page.HERE / f"page_{part}.js").read_text() for part in PARTS)


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium here (on Debian: apt-get install chromium)")
    browser = Browser.start()
    yield browser
    browser.close()


@pytest.fixture
def javascript(request):
    """
    javascript(f, argument) is the value of f(argument), where f is a function written in JavaScript
    that stands beside page_loop.js, page_tasks.js, page_watch.js and page_train.js.
    """
    if not NODE and not CHROMIUM:
        pytest.skip("neither node nor Chromium here (on Debian: apt-get install chromium)")

    def call(function, argument):
        value = f"JSON.stringify(({function})({json.dumps(argument)}))"
        program = f"(() => {{ {SCRIPTS}\n return {value}; }})()"
        if CHROMIUM:
            return json.loads(request.getfixturevalue("browser").run(program))
        done = subprocess.run(
            [NODE, "-"], input=f"console.log({program})", capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return call


# ---- the model

LOGITS = """({ models }) => models.map(({ config, weights, tokens, loops }) => {
  for (const name in weights) weights[name] = Float64Array.from(weights[name]);
  const model = { config, weights }, found = [];
  for (const { h } of states(model, tokens)) {
    found.push(Array.from(readout(model, h)));
    if (found.length > loops) break;
  }
  return found;
})"""

SETTINGS = [
    dict(injection=injection, norm=norm)
    for injection in ("none", "add", "concat")
    for norm in ("pre", "post", "sandwich")
]
SETTINGS += [dict(position=p, causal=c, reach=3) for p in TEXT_POSITIONS for c in (True, False)]
SETTINGS += [dict(position="grid", coordinates=BOARD, causal=c) for c in (True, False)]
SETTINGS += [dict(state_init="zeros"), dict(reembed=True), dict(reembed=True, norm="pre", n_coda=1)]
SETTINGS += [
    dict(n_prelude=1, n_core=2, n_coda=1),
    dict(n_prelude=2, n_core=2, tied=False),
    dict(tied=False),
]


def told(model, tokens, loops):
    """A model and a question as JSON."""
    weights = {name: weight.flatten().tolist() for name, weight in model.state_dict().items()}
    return dict(config=vars(model.config), weights=weights, tokens=tokens, loops=loops)


class Edges(LoopedGPT):
    """The embedding of chains: three names, a mark, nine edges."""

    def __init__(self, config):
        super().__init__(config)
        self.embed = EdgeEmbedding(3, config.n_embd).apply(init_weights)


@torch.no_grad()
def test_logits_are_those_of_pytorch_in_every_setting(javascript):
    """
    In double precision, where only the approximation of the GELU is left; float32 rounds to about
    1e-6 itself.
    """
    models = [build(seed, **changes) for seed, changes in enumerate(SETTINGS)]
    models += [build(99, Edges, vocab_size=4 + 9, causal=False, reembed=True)]
    questions = [tokens(rows=1, length=6) for _ in SETTINGS] + [torch.tensor([[5, 9, 12, 7, 3, 1]])]
    found = javascript(
        LOGITS,
        dict(models=[told(*each, 4) for each in zip(models, (q[0].tolist() for q in questions))]),
    )
    assert len(found) == len(models)
    for model, question, logits, changes in zip(models, questions, found, [*SETTINGS, "edges"]):
        single = torch.stack([model.readout(h).flatten() for h in model.states(question, 4)])
        double = torch.stack(
            [model.double().readout(h).flatten() for h in model.double().states(question, 4)]
        )
        logits = torch.tensor(logits, dtype=torch.double)
        assert logits.shape == double.shape and len(logits) == 5, changes
        assert (logits - single).abs().max() < 1e-4, changes
        assert (logits - double).abs().max() < 1e-6, changes
    assert logits.std() > 0.1  # something that could differ


def test_a_changed_weight_is_noticed(javascript):
    model = build()
    given = told(model, [1, 2, 3], 2)
    given["weights"]["core.0.attention.qkv.weight"][7] += 0.1
    found = torch.tensor(javascript(LOGITS, dict(models=[given]))[0][-1])
    assert (found - model(torch.tensor([[1, 2, 3]]), 2).flatten()).abs().max() > 1e-4


MEASURES = """({ model, answers }) => {
  for (const name in model.weights) model.weights[name] = Float64Array.from(model.weights[name]);
  const found = [];
  let before = null;
  for (const { h } of states(model, model.tokens)) {
    const logits = readout(model, h), V = logits.length / model.tokens.length;
    const rows = model.tokens.map((_, i) => logits.subarray(i * V, (i + 1) * V));
    const now = { h, logP: rows.map(logSoftmax) }, measured = {};
    for (const rule in RULES) if (before) measured[rule] = RULES[rule](before, now, answers);
    if (before) found.push(measured);
    before = now;
    if (found.length === model.loops) return found;
  }
}"""


@torch.no_grad()
def test_exit_rules_measure_what_those_of_looped_measure(javascript):
    model, question, answers = build(reembed=True), tokens(rows=1), [2, 5]
    found = javascript(MEASURES, dict(model=told(model, question[0].tolist(), 6), answers=answers))
    mask = torch.isin(torch.arange(question.shape[1]), torch.tensor(answers))[None]
    states = list(model.states(question, 6))
    assert len(found) == 6
    for before, h, measured in zip(states, states[1:], found):
        for rule in page.RULES:
            measure, _ = exits.RULES[rule]
            expected = measure(model, before, h, mask, None).item()
            assert measured[rule] == pytest.approx(expected, rel=1e-3), rule
    assert set(measured) == set(page.RULES)


# ---- what can be watched

OPENED = """({ model, start }) => {
  for (const name in model.weights) model.weights[name] = Float64Array.from(model.weights[name]);
  const tokens = model.tokens;
  const thought = { model, tokens, answers: [2], after: [] };
  thought.coming = states(model, tokens, start && Float64Array.from(start));
  thinkTo(thought, model.loops);
  const opened = openLoop(thought, model.loops, 3);
  const looks = looksOf(thought, model.loops, 0);
  return {
    opened: opened.map((each) => ({ ...each, numbers: [...each.numbers] })),
    looks: [...looks],
    last: [...thought.after.at(-1).h],
  };
}"""


@torch.no_grad()
@pytest.mark.parametrize("norm", ("pre", "post"))
def test_a_loop_is_opened_at_the_steps_of_the_block(norm, javascript):
    """Each strip of numbers, computed again from the modules of PyTorch."""
    model, question = build(norm=norm, injection="concat", reembed=True), tokens(rows=1)
    found = javascript(OPENED, dict(model=told(model, question[0].tolist(), 3), start=None))
    before = model.think(question, 2)
    _, e, positions = model.begin(question)
    block = model.core[0]
    both = model.inject(before, e)
    attended = block.attention(block.before_attention(both), positions)
    middle = block.after_attention(both + attended)
    said = block.mlp(block.before_mlp(middle))
    end = block.after_mlp(middle + said)
    steps = {
        "the state before": before,
        "the question": e,
        "both together": both,
        "attention finds": attended,
        "after attention": middle,
        "the MLP says": said,
        "after the MLP": end,
        "the prediction added": model.reembed(end),
    }
    assert [each["step"] for each in found["opened"]] == list(steps)
    for each, x in zip(found["opened"], steps.values()):
        assert torch.tensor(each["numbers"]) == pytest.approx(x[0, 3], abs=1e-4), each["step"]
        p, read = model.head(x)[0, 3].softmax(-1).max(-1)
        assert each["read"] == read.item() and each["p"] == pytest.approx(p.item(), abs=1e-4)
    H, T = model.config.n_head, question.shape[1]
    looks = torch.tensor(found["looks"]).view(H, T, T)
    assert torch.allclose(looks.sum(2), torch.ones(H, T)) and (looks.triu(1) == 0).all()


@torch.no_grad()
def test_a_loop_may_begin_from_any_state(javascript):
    model, question = build(), tokens(rows=1)
    start = torch.randn(1, question.shape[1], model.config.n_embd)
    given = told(model, question[0].tolist(), 3)
    found = javascript(OPENED, dict(model=given, start=start.flatten().tolist()))
    expected = model.think(question, 3, h=start).flatten()
    assert torch.tensor(found["last"]) == pytest.approx(expected, abs=1e-4)


DAMAGED = """({ model, hurt, kind }) => {
  for (const name in model.weights) model.weights[name] = Float64Array.from(model.weights[name]);
  const thought = { model, tokens: model.tokens, answers: [2], after: [] };
  thought.coming = states(model, model.tokens);
  thinkTo(thought, model.loops);
  damage(thought, hurt.t, hurt.token, kind);
  const predictions = thought.after.map(({ prediction }) => prediction);
  const states_ = thought.after.map(({ h }) => [...h]);
  return { states: states_, predictions, unhurt: thought.unhurt, healed: healedAfter(thought) };
}"""


@torch.no_grad()
@pytest.mark.parametrize("tied", (True, False))
@pytest.mark.parametrize("kind", ("noise", "other"))
def test_damage_is_one_vector_and_the_loops_go_on_from_there(kind, tied, javascript):
    model, question = build(tied=tied, loops=6), tokens(rows=1)
    t, token, T, C = 2, 3, question.shape[1], model.config.n_embd
    given = dict(model=told(model, question[0].tolist(), 6), hurt=dict(t=t, token=token), kind=kind)
    found = javascript(DAMAGED, given)
    states = torch.tensor(found["states"]).view(7, T, C)
    whole = model.trajectory(question, 6)[:, 0]
    changed = (states - whole).abs().amax(2) > 1e-4
    assert not changed[:t].any()
    assert changed[t].tolist() == [i == token for i in range(T)]
    assert states[t, token].norm().item() == pytest.approx(whole[t, token].norm().item(), abs=1e-3)
    if kind == "other":  # in the form in which a question gives it
        second = model.readout(whole[t][None])[0, token].topk(2).indices[1]
        e = model.begin(second.view(1, 1))[1][0, 0]
        cosine = torch.nn.functional.cosine_similarity(e, states[t, token], dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-4)
    _, e, positions = model.begin(question)
    h = states[t][None]
    for step in range(t, 6):
        h = model.loop(h, e, step, positions)
        assert (states[step + 1] - h[0]).abs().max() < 1e-3
    same = [hurt == unhurt for hurt, unhurt in zip(found["predictions"], found["unhurt"])]
    healed = max((loop + 1 for loop in range(7) if not same[loop]), default=t)
    assert found["healed"] == (healed if healed < 7 else None)


PLANE = """(points) => plane(points.map((point) => Float64Array.from(point)))"""


def test_the_plane_is_that_of_the_largest_singular_values(javascript):
    torch.manual_seed(0)
    points = torch.randn(30, 8) * torch.tensor([5.0, 3, 1, 1, 1, 0.5, 0.5, 0.5])
    found = javascript(PLANE, points.tolist())
    u, s, _ = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    expected = u[:, :2] * s[:2]
    places = torch.tensor(found["places"])
    assert places.abs() == pytest.approx(expected.abs(), abs=1e-3)  # either sign will do
    share = s[:2].square().sum() / s.square().sum()
    assert found["share"] == pytest.approx(share.item(), abs=1e-5)


def test_noise_is_normal_and_the_same_for_the_same_seed(javascript):
    call = "(seed) => [...randomNumbers(seed, 5000)]"
    first = torch.tensor(javascript(call, 1))
    assert abs(first.mean()) < 0.06 and abs(first.std() - 1) < 0.04
    assert first.abs().max() < 6 and (first.abs() > 2).float().mean() < 0.08
    assert torch.tensor(javascript(call, 1)).equal(first)
    assert not torch.tensor(javascript(call, 2)).equal(first)


# ---- training

GRADIENTS = """({ model, target }) => {
  for (const name in model.weights) model.weights[name] = Float64Array.from(model.weights[name]);
  const grads = likeWeights(model.weights);
  const { loss, right } = lossAndGradients(model, model.tokens, target, model.loops, grads);
  for (const name in grads) grads[name] = [...grads[name]];
  return { loss, right, grads };
}"""


@pytest.mark.parametrize("loops", (1, 4))
def test_gradients_are_those_of_pytorch(loops, javascript):
    model, question = build(position="window", reach=3).double(), tokens(rows=1)
    targets = torch.full_like(question, IGNORE)
    targets[0, -1] = 7
    loss, prediction = model.loss(question, targets, loops)
    loss.backward()
    given = dict(model=told(model, question[0].tolist(), loops), target=7)
    found = javascript(GRADIENTS, given)
    assert found["loss"] == pytest.approx(loss.item(), abs=1e-6)
    assert found["right"] == (prediction[0, -1].item() == 7)
    assert set(found["grads"]) == {name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        gradient = torch.tensor(found["grads"][name], dtype=torch.double)
        assert p.grad.abs().max() > 1e-4, name
        assert (gradient - p.grad.flatten()).abs().max() < 1e-6, name


ADAM = """({ weights, gradients }) => {
  const optimizer = newAdam(weights);
  for (const grads of gradients) optimizer(grads, 0.01);
  return weights;
}"""


def test_the_optimizer_is_that_of_pytorch(javascript):
    torch.manual_seed(0)
    p, q = torch.randn(6, dtype=torch.double), torch.randn(4, dtype=torch.double)
    gradients = [(torch.randn(6).double(), torch.randn(4).double() / 10) for _ in range(5)]
    gradients += [
        (torch.ones(6).double() / 100, torch.zeros(4).double())
    ]  # too short to be clipped
    told = [dict(p=a.tolist(), q=b.tolist()) for a, b in gradients]
    found = javascript(ADAM, dict(weights=dict(p=p.tolist(), q=q.tolist()), gradients=told))
    optimizer = torch.optim.Adam([p, q], lr=0.01, betas=(0.9, 0.99))
    for p.grad, q.grad in gradients:
        torch.nn.utils.clip_grad_norm_([p, q], 1)
        optimizer.step()
    assert found["p"] == pytest.approx(p.tolist(), abs=1e-6)
    assert found["q"] == pytest.approx(q.tolist(), abs=1e-6)


TRAINED = """() => {
  const found = [...training(1, 80, 16)];
  return { losses: found.map(({ loss }) => loss), map: found.at(-1).map };
}"""


def test_training_in_the_page_lowers_the_loss(javascript):
    found = javascript(TRAINED, None)
    first, *others = torch.tensor(found["losses"]).view(8, 10).mean(1).tolist()
    assert min(others) < 0.8 * first
    assert len(found["map"]) == 8 and all(0 <= right <= 1 for row in found["map"] for right in row)


# ---- the tasks

TRUTH = """({ name, world, setting, texts }) => texts.map((text) => {
  const task = TASKS[name], question = task.read(text, world);
  const tokens = task.tokens(question, world, setting), answers = task.answers(tokens);
  return { tokens, answers, truth: task.truth(tokens, world), again: task.write(question, world) };
})"""


def small_task(name, banks):
    if name in ("2x2", "2x3"):
        return Sudoku(box=name, puzzles=300, banks=str(banks))
    kinds = dict(
        multihop=MultiHop(),
        pause=MultiHop(pause=3),
        addition=Addition(digits=4),
        chains=Chains(names=30),
    )
    return kinds[name]


@pytest.mark.parametrize("name", ("multihop", "pause", "addition", "chains", "2x2", "2x3"))
def test_the_truth_of_a_question_is_the_task_s_own(name, banks, javascript):
    task = small_task(name, banks)
    for difficulty in (1, task.difficulties("test")[-1]):
        batch = task.batch("test", 0, 4, difficulty)
        world = page.world_of(task)
        texts = [page.text_of(task, row) for row in batch.tokens]
        setting = dict(pause=getattr(task, "pause", 0), digits=getattr(task, "digits", 0))
        found = javascript(
            TRUTH, dict(name=world["task"], world=world, setting=setting, texts=texts)
        )
        for row, truth, targets, text, each in zip(
            batch.tokens, task.truth(batch), batch.targets, texts, found
        ):
            length = len(each["tokens"])  # without the padding behind short questions
            assert each["tokens"] == row[:length].tolist() and each["again"] == text
            assert each["truth"] == [
                None if value == IGNORE else value for value in truth[:length].tolist()
            ]
            assert each["answers"] == (targets != IGNORE).nonzero()[:, 0].tolist()


REFUSED = """({ name, world, texts }) => texts.map((text) => {
  try { TASKS[name].read(text, world); return "taken"; } catch (error) { return error.message; }
})"""


@pytest.mark.parametrize(
    "name, texts",
    [
        ("multihop", ["", "c", "r2 c", "c r9", "c d", "zz r1", "c" + " r1" * 61]),
        ("addition", ["", "1+", "a+1", "1+2+3", "1", "-1+2", "1" * 31 + "+2"]),
        ("chains", ["", "a>b", "a>b ? ", "a>b a>c ? a", "a>b ? 7", "a ? a"]),
        ("2x2", ["", "1234", "12345.......... ", "1234123412341234", "x..............."]),
    ],
)
def test_what_is_no_question_is_said_in_a_line(name, texts, banks, javascript):
    world = page.world_of(Chains(names=20, hops=4) if name == "chains" else small_task(name, banks))
    for text, said in zip(
        texts, javascript(REFUSED, dict(name=world["task"], world=world, texts=texts))
    ):
        assert said != "taken" and len(said) < 130 and "undefined" not in said, (text, said)
        assert said[0] in "“" or said[0].isupper(), said  # a sentence
        assert said[-1] == "." and "entit" not in said and "relation" not in said, said


def test_what_is_no_road_is_said_in_the_words_of_the_page(javascript):
    world = page.world_of(MultiHop())
    given = dict(name="multihop", world=world, texts=["c r9", "zz r1", "c"])
    road, place, none = javascript(REFUSED, given)
    how = "Type a place (a to x) and then roads (r0 to r3), for example “a r0 r2”."
    assert road == f"“r9” is not a road. {how}" and place == f"“zz” is not a place. {how}"
    assert none == how


# ---- what is refused


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--task", "phop", "--length", "12"], "no field"),
        (["--task", "multihop", "--model", "steps.py"], "code of its own"),
        (["--task", "multihop", "--model", "parcae"], "code of its own"),
        (["--task", "multihop", "--state_init", "noise"], "noise"),
    ],
)
def test_what_page_cannot_run_is_refused(flags, words, elsewhere, run, capsys):
    Path("steps.py").write_text(STEPS)
    main([*flags, *TINY, "--no-curriculum", "--out", "run"])
    assert words in refused(lambda: run("page", "run"), capsys)
    assert not Path("run/page.html").exists()


def test_a_part_that_is_not_of_looped_is_refused(runs):
    model, task, flags = load_model(runs / "hops")
    page.describe(runs / "hops", model, task, flags)
    model.core[0].mlp[1] = torch.nn.ReLU()
    with pytest.raises(ValueError, match="cannot run `core.0.mlp.1`, which is a ReLU"):
        page.describe(runs / "hops", model, task, flags)


def test_runs_that_answer_different_questions_are_refused(runs, run, capsys):
    for other in ("other", "digits"):
        assert "same questions" in refused(lambda: run("page", runs / "hops", runs / other), capsys)


# ---- the page


BOARD_SHOWN = "[...document.querySelectorAll('.board button')]"
BOARD_SHOWN += ".map((cell) => cell.textContent || '0').join('')"


def shown(browser, model=0):
    """What stands behind the name of a model in the bar: its answer and whether it is right."""
    text = browser.run(f"document.querySelectorAll('#verdicts button')[{model}].textContent")
    return text.partition(": ")[2]


def at_stop(browser, name):
    browser.run(f"location.hash = '{name}'")
    browser.wait(f"now.stop === '{name}'")


@torch.no_grad()
@pytest.mark.parametrize("width", (360, 1600))
def test_a_person_asks_and_drags(runs, run, browser, width, tmp_path):
    browser.problems.clear()
    run(
        "page", runs / "hops", runs / "hops/control", "--out", tmp_path / "page.html", "--loops", 20
    )
    browser.open(tmp_path / "page.html", width, touch=width == 360)
    at_stop(browser, "explore")
    assert browser.run("document.documentElement.scrollWidth") <= width  # nothing sticks out
    browser.type("#question", "c r2 r0 r1")
    model, task, _ = load_model(runs / "hops")
    control = load_model(runs / "hops/control")[0]
    question = torch.tensor([[2, 24 + 2, 24 + 0, 24 + 1]])

    def says(model, loops, row="loop"):
        answer = model(question, loops).argmax(-1)[0, -1].item()
        right = "right" if answer == task.walk(question)[0, -1] else "wrong"
        return f"{task.name(answer)} {right} after {loops} {row}{'s' * (loops > 1)}"

    browser.drag("#loops", 1, release=False)
    assert shown(browser) == says(model, 20)  # already while it is dragged
    browser.drag("#loops", 1)
    assert shown(browser, 1) == says(control, 6, "layer")  # it has no more layers
    assert browser.run("slots.rules.settle.list.textContent").count("it ends after layer 6") == 1
    assert len(browser.run("document.querySelector('#models .picture svg').textContent")) > 60
    browser.press("Home")  # the slider has the focus
    assert shown(browser) == says(model, 1)
    browser.press("ArrowRight", times=3)
    assert shown(browser) == says(model, 4)
    browser.drag("#loops", 1)
    _, used = model.solve(
        question, "settle", 0.3, max_loops=20, answer_mask=torch.arange(4)[None] == 3
    )
    browser.type("#threshold-settle", "0.3")
    (browser.tap if width == 360 else browser.click)("input[value=settle]")
    assert shown(browser) == says(model, used.item())
    browser.type("#question", "c r7")
    assert "not a road" in browser.run("document.querySelector('#problem').textContent")
    opacity = "+getComputedStyle(document.querySelector('#walk')).opacity"
    assert browser.run(opacity) < 0.5  # the walk is that of the question before
    browser.type("#question", "c r1")
    assert browser.run(opacity) == 1
    assert browser.run("document.querySelector('#problem').textContent") == ""
    assert browser.problems == []


@pytest.mark.parametrize("width", (360, 1280))
def test_the_tour_shows_at_each_stop_what_it_speaks_of(runs, run, browser, width, tmp_path):
    browser.problems.clear()
    run("page", runs / "hops", runs / "hops/control", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", width, touch=width == 360)
    seen = {}
    for number in range(1, 9):
        stop = browser.run("now.stop")
        visible = "[...document.querySelectorAll('[data-stops]')].filter((each) => !each.hidden)"
        seen[stop] = browser.run(f"{visible}.map((each) => each.id || each.tagName)")
        assert seen[stop].count("ARTICLE") == 1
        words = browser.run("document.querySelector('article:not([hidden])').innerText")
        assert "  " not in words and " , " not in words and " ." not in words, words
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelector('#walk').textContent.length") > 3
        if number < 8:
            (browser.tap if width == 360 else browser.click)(".next")
            browser.wait(f"now.stop !== '{stop}'")
    assert list(seen) == [*"1234567", "explore"]
    for stop, panel in zip("12557", ("facts", "opened", "rules", "path", "hurt")):
        of_panel = f"!document.querySelector('#{panel}').closest('[hidden]')"
        at_stop(browser, stop)
        assert browser.run(of_panel)
        assert browser.run(f"document.querySelector('#{panel}').innerHTML.length") > 100
        at_stop(browser, "3")
        assert not browser.run(of_panel)
    assert browser.run("history.length") > 7  # the browser's Back is a step back
    at_stop(browser, "4")
    hops = "document.querySelector('#question').value.split(' ').length - 1"
    assert browser.run(hops) == 4
    browser.click("#another")
    assert browser.run(hops) == 4
    assert browser.problems == []


def test_two_models_are_compared_on_a_phone(runs, run, browser, tmp_path):
    run("page", runs / "hops", runs / "hops/control", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 390, touch=True)
    at_stop(browser, "4")
    widths = "[...document.querySelectorAll('#models > section')].map((each) => each.offsetWidth)"
    assert shown(browser, 0) and shown(browser, 1)  # both answers stand in the bar
    looped, control = browser.run(widths)
    assert looped > 300 and control == 0
    browser.tap("#verdicts button:nth-child(2)")
    looped, control = browser.run(widths)
    assert looped == 0 and control > 300
    assert browser.run("document.querySelectorAll('#models .picture svg')[1].clientWidth") > 100


def test_a_person_opens_a_loop_and_does_harm(runs, run, browser, tmp_path):
    browser.problems.clear()
    run("page", runs / "hops", "--out", tmp_path / "page.html", "--loops", 20)
    browser.open(tmp_path / "page.html", 1280)
    at_stop(browser, "explore")
    browser.type("#question", "c r2 r0 r1")
    browser.drag("#loops", 0.5)
    browser.place("#channel")
    browser.run("document.querySelector('#channel').focus()")
    browser.press("ArrowRight", times=3)
    assert browser.run("document.querySelector('output[for=channel]').textContent") == "4 of 16"
    strip = browser.run("document.querySelector('#opened').textContent")
    path = browser.run("document.querySelector('#path').innerHTML")
    browser.press("End")
    assert browser.run("document.querySelector('#opened').textContent") != strip
    browser.run("document.querySelector('#token').value = 1")
    browser.run("document.querySelector('#token').onchange()")
    assert browser.run("document.querySelector('#path').innerHTML") != path
    before = browser.run("JSON.stringify(thoughts[0].after.map(({ prediction }) => prediction))")
    browser.click("#hurt button:nth-child(1)")
    assert browser.run("thoughts[0].hurt.token") == 1
    assert "Overwritten after loop" in browser.run("document.querySelector('#healed').textContent")
    browser.click("#hurt button:nth-child(3)")  # undo
    after = browser.run("JSON.stringify(thoughts[0].after.map(({ prediction }) => prediction))")
    assert after == before and browser.run("document.querySelector('#healed').textContent") == ""
    assert browser.problems == []


# What is between the colour of a text and of what it stands on (WCAG 2: at least 4.5).
CONTRAST = """((place) => {
  const { color, backgroundColor } = getComputedStyle(place);
  const light = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const [low, high] = [light(color), light(backgroundColor)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
})"""


def test_a_button_can_be_read_under_the_mouse(runs, run, browser, tmp_path):
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 1280)
    for button in (".next", "#stops [aria-current=step]", "#stops button:nth-child(3)"):
        x, y, _ = browser.place(button)
        browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        assert browser.run(f"document.querySelector('{button}').matches(':hover')")
        assert browser.run(f"{CONTRAST}(document.querySelector('{button}'))") > 4.5, button


def test_a_press_takes_the_token_and_the_loop_of_a_cell(runs, run, browser, tmp_path):
    browser.problems.clear()
    run("page", runs / "hops", "--out", tmp_path / "page.html", "--loops", 20)
    browser.open(tmp_path / "page.html", 1280)
    at_stop(browser, "explore")
    browser.type("#question", "c r2 r0 r1")
    browser.run("document.querySelector('#models').scrollIntoView({ block: 'center' })")

    def press(name, row):
        """Below the name of a token, beside the number of a row."""
        place = "[...document.querySelectorAll('#models svg text')].find"
        place += "((each) => each.textContent === '{}').getBoundingClientRect()"
        x = browser.run(f"(({{ x, width }}) => x + width / 2)({place.format(name)})")
        y = browser.run(f"(({{ y, height }}) => y + height / 2)({place.format(row)})")
        for kind in ("mousePressed", "mouseReleased"):
            browser.ask(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    for name, token, row in (("r0", 2, 5), ("r1", 3, 3)):
        press(name, row)
        assert browser.run("[now.token, now.loops]") == [token, row]
    assert browser.run("document.querySelector('#loops').value") == "3"
    press("r1", 3)  # the same cell again: all tokens
    assert browser.run("[now.token, now.loops]") == [None, 3]
    assert browser.problems == []


def test_the_stop_about_stopping_shows_one_loop_as_the_last(runs, run, browser, tmp_path):
    """The verdict, the row in the frame and the ring on the path; the path itself goes on."""
    run("page", runs / "hops", "--out", tmp_path / "page.html", "--loops", 20)
    browser.open(tmp_path / "page.html", 1280)
    at_stop(browser, "5")
    assert browser.run("now.loops") == 20
    browser.type("#threshold-settle", "0.3")
    t = int(shown(browser).partition("after ")[2].split()[0])
    assert 1 < t < 20
    bold = "document.querySelector('#models svg text[font-weight=\"700\"][text-anchor=end]')"
    assert browser.run(f"{bold}.textContent") == str(t)
    points = browser.run("document.querySelector('#path path').getAttribute('d')")[1:].split(" L")
    assert len(points) == 21
    ring = "document.querySelector('#path circle[fill=none]')"
    at = [browser.run(f"{ring}.getAttribute('{each}')") for each in ("cx", "cy")]
    assert ",".join(at) == points[t]
    assert not browser.run("document.querySelector('#pale').hidden")
    browser.type("#threshold-settle", "abc")
    said = "document.querySelector('#rules .problem').textContent"
    assert browser.run(said) == "Type a number above 0."
    browser.type("#threshold-settle", "0.2")
    assert browser.run(said) == ""


def test_the_damage_of_the_committed_page_heals(browser, tmp_path):
    """The committed page has a trained model; around it stands the page of now."""
    text = (page.HERE.parent / "results/page/demo.html").read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    half = int(data["words"]["hops"].split()[0]) // 2
    preset = dict(data["tour"]["4"], loops=half + 2, token=half)
    data["tour"].setdefault("7", preset)
    (tmp_path / "page.html").write_text(page.fill(data), encoding="utf-8")
    browser.open(tmp_path / "page.html", 1280)
    at_stop(browser, "7")
    assert browser.run("[now.token, now.loops, now.rule]") == [half, half + 2, "fixed"]
    assert browser.run("isRight({ ...thoughts[0], answers: [now.token] }, now.loops)")
    assert browser.run("document.querySelector('#hurt-key').hidden")
    browser.click("#hurt button:nth-child(2)")
    assert not browser.run("document.querySelector('#hurt-key').hidden")
    healed = browser.run("healedAfter(thoughts[0])")
    assert half + 4 < healed <= 4 * half + 6  # the error passes through, and is gone
    browser.run("document.querySelector('#loops').focus()")
    browser.press("ArrowRight", times=3 * half + 4)  # to 4 * half + 6, as the text says
    assert " right after " in shown(browser)
    browser.press("End")
    assert browser.run("document.querySelector('#hurt button').disabled")  # nothing comes after it
    at_stop(browser, "6")
    at_stop(browser, "7")
    assert not browser.run("thoughts[0].hurt")


def test_a_phone_shows_all_facts(runs, run, browser, tmp_path):
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 360, touch=True)
    assert browser.run("document.querySelectorAll('#facts th').length") == 1 + 24 + 4
    ends = "document.querySelector('#facts tr:last-child td:last-child').getBoundingClientRect()"
    assert browser.run(f"{ends}.right") <= 360 - 15


def test_the_last_next_hands_the_focus_to_the_heading(runs, run, browser, tmp_path):
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 1280)
    at_stop(browser, "7")
    browser.run("document.querySelector('.next').focus()")
    browser.run("document.querySelector('.next').click()")
    browser.wait("now.stop === 'explore'")
    assert browser.run("document.activeElement.textContent") == "Explore"


def test_an_own_question_is_called_so(runs, run, browser, tmp_path):
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 1280)
    at_stop(browser, "3")
    chosen = "document.querySelector('#level').selectedOptions[0].textContent"
    assert browser.run(chosen) == "2 hops"
    browser.type("#question", "c r2 r0 r1 r1 r1")
    assert browser.run(chosen) == "own question"
    browser.click("#another")
    assert browser.run(chosen).endswith(" hops")


def test_the_bar_ends_where_its_slider_does_nothing(runs, run, browser, tmp_path):
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 360, height=300, touch=True)
    at_stop(browser, "explore")
    browser.run("window.scrollTo(0, document.body.scrollHeight)")
    place = "document.querySelector('{}').getBoundingClientRect()"
    bar, training = place.format("#bar"), place.format("#training")
    assert browser.run(f"{bar}.bottom <= {training}.top")


def test_a_person_trains_a_model(runs, run, browser, tmp_path):
    browser.problems.clear()
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 360, touch=True)
    at_stop(browser, "explore")
    browser.tap("#train")
    browser.wait("document.querySelectorAll('#learning > svg').length === 2", seconds=120)
    assert browser.run("document.querySelector('#train').textContent") == "stop"
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.tap("#train")
    said = browser.run("document.querySelector('output[for=train]').textContent")
    assert said.startswith("step ") and "of 800" in said
    browser.run("new Promise((done) => setTimeout(done, 500))")  # nothing comes any more
    assert browser.run("document.querySelector('output[for=train]').textContent") == said
    assert browser.problems == []


def test_play_moves_nothing_by_itself_if_motion_is_not_wanted(runs, run, browser, tmp_path):
    run("page", runs / "hops", "--out", tmp_path / "page.html")
    wanted = dict(name="prefers-reduced-motion", value="reduce")
    browser.ask("Emulation.setEmulatedMedia", features=[wanted])
    browser.open(tmp_path / "page.html", 800)
    at_stop(browser, "3")
    assert browser.run("document.querySelector('#play').ariaLabel") == "next loop"
    browser.click("#play")
    browser.click("#play")
    assert browser.run("now.loops") == 2
    browser.run("new Promise((done) => setTimeout(done, 700))")
    assert browser.run("now.loops") == 2
    browser.ask("Emulation.setEmulatedMedia", features=[])


@torch.no_grad()
def test_a_question_that_is_wrong_at_rest_is_found(runs):
    model, task, _ = load_model(runs / "hops")  # hardly trained: it rests, and is wrong
    wrong, asked, often = page.find_wrong(model, task, 48)
    logits, loops = model.solve(wrong[None], max_loops=48)
    assert loops < 48 and logits[0, -1].argmax() != task.walk(wrong[None])[0, -1] and asked >= 500
    counted = 0
    for hops in difficulties_of(task, "test", 6):
        for asking in task.batch("test", 0, 500, hops).tokens.split(100):
            logits, loops = model.solve(asking, max_loops=48)
            answers = logits[:, -1].argmax(-1)
            counted += ((answers != task.walk(asking)[:, -1]) & (loops < 48)).sum().item()
    assert often == counted > 0


@torch.no_grad()
def test_the_short_question_of_the_tour_needs_all_its_loops():
    for seed in range(10):
        task = MultiHop(hops=4, entities=8, seed=seed)  # most walks meet a place again
        question = page.find_plain(Walker(task), task, 4)
        assert len(set(task.walk(question[None])[0].tolist())) == 5


class Walker:
    """Knows the facts, and walks one hop in each loop."""

    def __init__(self, task):
        self.task = task

    def trajectory(self, tokens, loops):
        walk = self.task.walk(tokens)
        return torch.stack([walk[:, min(t, walk.shape[1] - 1)] for t in range(loops + 1)])

    def readout(self, places):
        return torch.nn.functional.one_hot(places, self.task.vocab_size)[:, None]


@torch.no_grad()
def test_boards_are_solved_side_by_side(runs, run, browser, tmp_path):
    browser.problems.clear()
    run("page", runs / "hops", "--boards", runs / "boards", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 360, touch=True)
    at_stop(browser, "explore")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.run("document.querySelectorAll('#thinking svg').length") == 4
    browser.run("document.querySelector('#board-loops').focus()")
    browser.press("ArrowRight", times=5)
    model, task, _ = load_model(runs / "boards")
    text = browser.run("document.querySelector('#board').value")
    board = torch.tensor([[0 if c in "._" else int(c) for c in text]])
    _, solution = task.boards.solutions(board)
    wrong = int(((model(board, 5).argmax(-1) != solution) & (board == 0)).sum())
    said = browser.run("document.querySelector('#thinking p').textContent")
    assert said.startswith(f"{wrong} wrong" if wrong else "all right")
    least = "[...document.querySelectorAll('#thinking p')].map((each) => each.textContent)"
    moved = [float(text.split("moves ")[1].split(" %")[0]) for text in browser.run(least)]
    kept = ["kept" in text for text in browser.run(least)]
    assert sum(kept) == 1 and moved[kept.index(True)] == min(moved)
    assert browser.problems == []


@torch.no_grad()
def test_the_record_of_grokking_is_what_the_snapshots_answer(runs, run, browser, tmp_path):
    browser.problems.clear()
    found = page.grokking_of(runs / "facts", "cpu")
    model, task, _ = load_model(runs / "facts")
    model.load_state_dict(torch.load(runs / "facts/snapshots/000001.pt", weights_only=True))
    assert found["steps"][:2] == [1, 2] and len(found["questions"]) == 3
    batch = task.batch("val", 0, len(task.listed["val", 2]), 2)
    loops = len(found["questions"][0]["read"][0])
    prediction = model(batch.tokens, loops).argmax(-1)
    right = task.check(batch, prediction).float().mean().item()
    assert found["curves"]["held out"][0] == pytest.approx(right, abs=1e-3)
    question = found["questions"][1]
    assert question["read"][0][-1] == prediction[0, 1:].tolist()
    assert question["truth"] == task.walk(batch.tokens)[0, 1:].tolist()
    run("page", runs / "hops", "--grokking", runs / "facts", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 360, touch=True)
    at_stop(browser, "explore")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.run("document.querySelector('#step').focus()")
    browser.press("End")
    step = browser.run("document.querySelector('output[for=step]').textContent")
    assert step == f"step {found['steps'][-1]}"
    last = browser.run("document.querySelector('#recorded tr:last-child').textContent")
    names = [found["names"][token] for token in found["questions"][0]["read"][-1][-1]]
    assert last == f"loop {loops}{''.join(names)}"
    assert browser.problems == []


def test_runs_of_other_tasks_are_refused_beside_the_page(runs, run, capsys):
    assert "wants a run of sudoku" in refused(
        lambda: run("page", runs / "hops", "--boards", runs / "digits"), capsys
    )
    assert "wants a run of composition" in refused(
        lambda: run("page", runs / "hops", "--grokking", runs / "hops"), capsys
    )


@torch.no_grad()
def test_numbers_boards_and_chains_have_fields_of_their_own(runs, run, browser, tmp_path):
    browser.problems.clear()
    run("page", runs / "digits", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 800)
    browser.type("#first", "99")
    browser.type("#second", "1")
    model, task, _ = load_model(runs / "digits")
    asked = torch.tensor([[11, 9, 1, 9, 0, 0, 0, 10]])
    loops = browser.run("+document.querySelector('#loops').value")
    answer = task.show(asked[0], model(asked, loops).argmax(-1)[0]).partition("=")[2]
    assert shown(browser).split()[0] == str(int(answer))
    run("page", runs / "boards", "--out", tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 800)
    before = browser.run(BOARD_SHOWN)
    blank = before.index("0")
    browser.click(f".board button:nth-child({blank + 1})")
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="3", code="Digit3", text="3")
    after = browser.run(BOARD_SHOWN)
    assert after == before[:blank] + "3" + before[blank + 1 :]
    assert " blanks right after " in shown(browser).replace("of 16", "")
    assert browser.problems == []
