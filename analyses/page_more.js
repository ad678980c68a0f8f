"use strict";
// Further parts of the page, for models of their own: a board solved from several starts, what a
// model could do at each step of its training (both if page.py was given the run), and a model that
// is trained in the page.

// -------------------------------------------------------------------------------------------------
// Sudoku: the same board from the model's own start and from noise

function buildBoards({ model: packed, world, examples, most }) {
  const model = unpack(packed);
  const task = TASKS.sudoku;
  const C = model.config.n_embd;
  const starts = ["its own start", "noise 1", "noise 2", "noise 3"];
  const panels = starts.map((name) => {
    const picture = element("div", { className: "picture" });
    const said = element("p", { className: "small numbers" });
    $("thinking").append(element("section", {}, element("b", {}, name), picture, said));
    return { picture, said };
  });
  let mine = []; // a thought for each start
  const slider = $("board-loops");
  slider.max = most;

  const begin = (text) => {
    const question = task.read(text, world);
    mine = starts.map((_, i) => {
      const start = i ? randomNumbers(i, C * question.length) : null;
      return newThought(model, question, world, task, start);
    });
    slider.value = 0;
    show();
  };
  const show = () => {
    const t = +slider.value;
    for (const thought of mine) thinkTo(thought, t);
    document.querySelector("output[for=board-loops]").textContent = counted(t);
    const moves = mine.map(({ after }) => after[t].settle ?? Infinity);
    mine.forEach((thought, i) => {
      const { picture, said } = panels[i];
      const { prediction } = thought.after[t];
      const wrong = thought.answers.filter(
        (cell) => prediction[cell] !== thought.truth[cell],
      ).length;
      picture.innerHTML = drawBoard(thought, t, {
        world,
        width: Math.max(picture.clientWidth, 150),
      });
      const kept = t > 0 && moves[i] === Math.min(...moves) ? ", least: kept" : "";
      const moved =
        t > 0 ? `moves ${(100 * moves[i]).toFixed(1)} %${kept}` : "before the first loop";
      const chip = element("span", { className: wrong ? "wrong" : "right" });
      chip.textContent = wrong ? `${wrong} wrong` : "all right";
      said.replaceChildren(chip, ` ${moved}`);
    });
  };
  const options = examples.flatMap(([name, texts]) =>
    texts.map((text, i) => [text, `${name} ${i + 1}`]),
  );
  $("puzzle").append(choice("board", options, begin, "board"));
  slider.oninput = show;
  addEventListener("resize", show);
  const step = () => {
    slider.value = +slider.value + 1;
    show();
    return +slider.value < most;
  };
  player($("think"), () => (slider.value = +slider.value < most ? slider.value : 0), step);
  $("boards").hidden = false;
  begin(options[0][0]);
}

// -------------------------------------------------------------------------------------------------
// Grokking: what was recorded at each snapshot

function buildGrokking({ steps, curves, questions, names }) {
  const slider = $("step");
  slider.max = steps.length - 1;
  const kinds = Object.keys(curves);
  const DONE = [
    "memorised the questions of training",
    "learned to compose pairs that it never saw together",
    "learned to compose facts that it only saw alone",
  ];
  const show = () => {
    const k = +slider.value;
    document.querySelector("output[for=step]").textContent = `step ${steps[k]}`;
    const done = DONE.filter((_, i) => curves[kinds[i]][k] >= 0.9);
    const accuracies = kinds.map((kind, i) => key(i, `${kind}: ${curves[kind][k].toFixed(2)}`));
    $("phase").replaceChildren(
      ...accuracies,
      element("br"),
      done.length
        ? `By now the model has ${done.join(", and ")}.`
        : "By now the model has learned none of the three.",
    );
    const width = Math.min(widthOf($("phases")), 640);
    $("phases").innerHTML = drawTraining(steps, curves, k, width, "share right");
    $("recorded").replaceChildren(...questions.map((question) => recorded(question, k)));
  };
  // What is read at the two relations after each loop: first the bridge between the two facts
  // should be there, then the answer.
  const recorded = ({ kind, question, truth, read }, k) => {
    const rows = read[k].map((tokens, loop) => {
      const chips = tokens.map((token, i) => {
        const className = token === truth[i] ? "right" : "wrong";
        return element("td", {}, element("span", { className, textContent: names[token] }));
      });
      return element("tr", {}, element("th", { scope: "row" }, `loop ${loop + 1}`), ...chips);
    });
    const words = ["", ...question.split(" ").slice(1)];
    const top = element("tr", {}, ...words.map((word) => element("th", { scope: "col" }, word)));
    const caption = element("caption", {}, `${kind}: ${question} → ${names[truth[1]]}`);
    return element("table", {}, caption, top, ...rows);
  };
  slider.oninput = show;
  addEventListener("resize", show);
  $("grokking").hidden = false;
  show();
}

// -------------------------------------------------------------------------------------------------
// A model that is trained here, in a worker, so that the page stays alive

const TRAINING_STEPS = 800;
const RIGHT = "share of right answers";
const LOSS = "loss, as a share of that of guessing";

function buildTraining() {
  const scripts = [...document.querySelectorAll("script.worker")].map((each) => each.textContent);
  const start =
    "onmessage = ({ data }) => { for (const found of training(...data)) postMessage(found); }";
  const url = URL.createObjectURL(new Blob([...scripts, start], { type: "text/javascript" }));
  const said = document.querySelector("output[for=train]");
  let worker = null;
  let steps = [];
  let curves = {};
  let map = null;
  const end = () => {
    worker?.terminate();
    worker = null;
    $("train").textContent = "train another";
  };
  const show = () => {
    if (!steps.length || !$("learning").clientWidth) return;
    const width = Math.min(widthOf($("learning")), 560);
    const { hops, slack } = WORLD;
    const legend = Object.keys(curves).map((name, i) => key(i, name).outerHTML);
    $("learning").innerHTML =
      `<p class="small">${legend.join(" ")}</p>` +
      drawTraining(steps, curves, steps.length - 1, width) +
      (map ? drawMap(map, { hops, loops: [2, hops + slack] }, width) : "");
  };
  // Both curves jump with the hops of a batch, so a running mean is drawn.
  const follow = (curve, value) =>
    curve.push(curve.length ? 0.9 * curve.at(-1) + 0.1 * value : value);
  const hear = ({ data: found }) => {
    steps.push(found.step);
    follow(curves[RIGHT], found.right);
    follow(curves[LOSS], Math.min(1, found.loss / Math.log(WORLD.entities)));
    map = found.map ?? map;
    const asked = counted(found.level, "hop");
    said.textContent = `step ${found.step} of ${TRAINING_STEPS}, asked up to ${asked}`;
    if (found.map || found.step % 5 === 0) show();
    if (found.step === TRAINING_STEPS) end();
  };
  $("train").onclick = () => {
    if (worker) return end();
    steps = [];
    curves = { [RIGHT]: [], [LOSS]: [] };
    map = null;
    worker = new Worker(url);
    worker.onmessage = hear;
    worker.postMessage([Date.now() % 1e6, TRAINING_STEPS]); // a seed, so another world each time
    $("train").textContent = "stop";
  };
  addEventListener("resize", show);
}
