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
from looped import LoopedGPT, init_weights
from more_tasks.chains import Chains, EdgeEmbedding
from tasks import IGNORE, Addition, MultiHop, Sudoku
from train import load_model

NODE = shutil.which("node")
SCRIPTS = "".join((page.HERE / name).read_text() for name in ("page_loop.js", "page_tasks.js"))


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
    that stands beside page_loop.js and page_tasks.js.
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


def shown(browser):
    return browser.run("document.querySelector('.said').textContent")


@torch.no_grad()
@pytest.mark.parametrize("width", (360, 1600))
def test_a_person_asks_and_drags(runs, run, browser, width, tmp_path):
    browser.problems.clear()
    run(
        "page", runs / "hops", runs / "hops/control", "--out", tmp_path / "page.html", "--loops", 20
    )
    browser.open(tmp_path / "page.html", width, touch=width == 360)
    assert browser.run("document.documentElement.scrollWidth") <= width  # nothing sticks out
    browser.type("#question", "c r2 r0 r1")
    model, task, _ = load_model(runs / "hops")
    control = load_model(runs / "hops/control")[0]
    question = torch.tensor([[2, 24 + 2, 24 + 0, 24 + 1]])

    def says(model, loops):
        answer = model(question, loops).argmax(-1)[0, -1].item()
        right = "right" if answer == task.walk(question)[0, -1] else "wrong"
        return f"{task.name(answer)} {right} after {loops} loop{'s' * (loops > 1)}"

    browser.drag("#loops", 1, release=False)
    assert shown(browser) == says(model, 20)  # already while it is dragged
    browser.drag("#loops", 1)
    of_control = browser.run("document.querySelectorAll('.said')[1].textContent")
    assert of_control == says(control, 6)  # it has no more layers
    assert len(browser.run("document.querySelector('#models svg').textContent")) > 60
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
    assert "no relation" in browser.run("document.querySelector('#problem').textContent")
    assert browser.problems == []


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
