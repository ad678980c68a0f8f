"use strict";
// The page: fields for a question, the pictures of what each model makes of it, and the tour.

const $ = (id) => document.getElementById(id);
const page = JSON.parse($("data").textContent);
const { world } = page;
const task = TASKS[world.task];
const ABOUT_RULES = {
  fixed: "as many loops as the slider says",
  settle: "state at rest (settle): how far a loop moves the state",
  kl: "answer settled (KL divergence): how far a loop moves the answer",
  entropy: "sure enough (entropy): how undecided the answer is",
};
const now = {
  loops: page.loops,
  rule: "fixed",
  thresholds: { ...page.rules },
  chosen: 0, // the model whose loop is opened, whose path is drawn, ..
  token: null, // null: the arcs of all tokens, and the answer wherever one token is meant
  head: 0,
  layer: 0,
  channel: 0,
  stop: "explore", // of the tour: "1" to "7", or all at once
};
const slots = { models: [], rules: {}, show: null }; // where pictures and words go
let thoughts = []; // what each model makes of the question
const models = page.models.map(unpack);

function unpack(model) {
  const text = atob(model.weights);
  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  const weights = {};
  let from = 0;
  for (const [name, length] of Object.entries(model.tensors))
    weights[name] = Float64Array.from(numbers.subarray(from, (from += length)));
  return { ...model, weights };
}

// Everything about a question is computed once, for the most loops of the slider.
function ask(question) {
  now.question = question;
  thoughts = models.map((model) => newThought(model, question, world, task));
  for (const thought of thoughts) thinkTo(thought, page.most);
  now.token = world.task === "sudoku" ? tokenOf() : null;
  const tokens = thoughts[0].tokens.map((token, i) => [i, `${i + 1}: ${nameOf(token, world)}`]);
  offer($("token"), world.task === "sudoku" ? tokens : [[-1, "all tokens"], ...tokens]);
  if (world.facts) $("facts").replaceChildren(factsOf(question, task.truth(question, world)));
  $("walk").replaceChildren(...task.explain(question, world).map(wordOfWalk));
  draw();
}

// The facts that the model had to learn, and those of the walk marked.
function factsOf(tokens, truth) {
  const { names, entities, facts } = world;
  const cell = (kind, ...inside) => element(kind, {}, ...inside);
  const places = names.slice(0, entities).map((name) => cell("th", name));
  const rows = facts.map((leads, r) => {
    const cells = leads.map((end, from) => {
      const walked = truth.some(
        (_, i) => i && tokens[i] === entities + r && (truth[i - 1] ?? tokens[0]) === from,
      );
      return cell("td", walked ? element("mark", {}, names[end]) : names[end]);
    });
    return cell("tr", cell("th", names[entities + r]), ...cells);
  });
  return cell(
    "table",
    element("caption", {}, "The facts: where each road leads"),
    cell("tr", cell("th"), ...places),
    ...rows,
  );
}

function wordOfWalk(text, i) {
  return i % 2 ? element("span", {}, `–${text}→`) : element("b", {}, text);
}

// The token that is meant where one is: the chosen one, or where the answer stands.
function tokenOf(thought = thoughts[now.chosen]) {
  if (world.task === "sudoku") return now.token ?? 0;
  return Math.min(now.token ?? thought.answers.at(-1), thought.tokens.length - 1);
}

// -------------------------------------------------------------------------------------------------
// Draw: all that depends on the question, the slider and what else is chosen

function draw() {
  $("loops").value = now.loops;
  $("count").textContent = counted(now.loops);
  $("token").value = now.token ?? -1;
  thoughts.forEach(drawThought);
  $("pale").hidden = !thoughts.some((thought) => stopOf(thought).early);
  $("hurt-key").hidden = !thoughts.some(({ hurt }) => hurt);
  const visible = (id) => !$(id).closest("[hidden]");
  if (visible("opened")) drawLoopOpened();
  if (visible("hurt")) drawDamage();
  if (visible("rules")) drawRules();
  if (visible("path")) drawPath();
}

function counted(number, what = "loop") {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function widthOf(place) {
  return Math.max(place.clientWidth, 240);
}

function stopOf(thought, rule = now.rule) {
  return stop(thought, rule, now.thresholds[rule], now.loops);
}

function drawThought(thought, m) {
  const { model, after } = thought;
  const { verdict, picture, section, note } = slots.models[m];
  const { loop: t, early } = stopOf(thought);
  section.classList.toggle("chosen", m === now.chosen);
  verdict.setAttribute("aria-pressed", m === now.chosen);
  verdict.replaceChildren(
    swatch(m),
    `${model.name}: `,
    ...judged(thought, t),
    ` after ${counted(t * stepOf(model).size, stepOf(model).name)}`,
  );
  const width = widthOf(picture);
  const head = Math.min(now.head, model.config.n_head - 1);
  const all = looksOf(thought, t, now.layer);
  const T = thought.tokens.length;
  const looks = all?.subarray(head * T * T, (head + 1) * T * T);
  const order = task.order?.(thought.tokens, world) ?? thought.tokens.map((_, i) => i);
  const token = now.token === null ? null : tokenOf(thought);
  const step = stepOf(model);
  const loops = drawLoops(thought, t, now.loops, { world, order, width, looks, token, step });
  const from = looks?.subarray(token * T, (token + 1) * T);
  const board = { world, width, looks: from, from: token };
  picture.innerHTML = (world.task === "sudoku" ? drawBoard(thought, t, board) : "") + loops;
  const ends = !model.config.tied && t === model.config.loops && now.loops > t;
  const notes = [];
  if (picture.scrollWidth > picture.clientWidth)
    notes.push("The picture goes on to the right: scroll →");
  if (early) notes.push("It stopped by itself.");
  if (!early && ends) notes.push("It has no more layers than these.");
  note.textContent = notes.join(" ");
}

// What a row of a picture is: a loop, or in a stack of different layers as many as a loop has.
function stepOf({ config }) {
  return config.tied ? { name: "loop", size: 1 } : { name: "layer", size: config.n_core };
}

// What a model says after t loops, and whether it is right: in words, too, as a colour alone does
// not reach everyone.
function judged(thought, t) {
  const { answers, truth, after } = thought;
  const { prediction } = after[t];
  const right = isRight(thought, t);
  const text = task.say(prediction, world, answers);
  const places = answers.filter((i) => prediction[i] === truth[i]).length;
  const chip = element("span", { className: right ? "right" : "wrong" });
  chip.textContent = text || `${places} of ${answers.length} blanks`;
  return [chip, right || !text ? " right" : " wrong"];
}

function drawLoopOpened() {
  const thought = thoughts[now.chosen];
  const t = Math.max(stopOf(thought).loop, 1);
  const token = tokenOf(thought);
  const name = nameOf(thought.tokens[token], world);
  const step = stepOf(thought.model);
  const isFirst = t === 1 && thought.model.config.state_init === "embed";
  $("opened-what").textContent =
    `${thought.model.name}, ${step.name} ${t * step.size}, token ${token + 1} (${name}). ` +
    "Blue is above 0, orange below. The number in the frame stands on the right, with the token " +
    "that all of them resemble most." +
    (isFirst ? " Before the first loop, the state is the question itself." : "");
  if (thought.hurt?.t === t) return void ($("opened").textContent = "Its result was overwritten.");
  const steps = openLoop(thought, t, token);
  const C = steps[0].numbers.length;
  now.channel = Math.min(now.channel, C - 1);
  $("channel").max = C;
  $("channel").value = now.channel + 1;
  document.querySelector("output[for=channel]").textContent = `${now.channel + 1} of ${C}`;
  $("opened").innerHTML = drawOpened(steps, now.channel, world, widthOf($("opened")));
  const T = thought.tokens.length;
  const looks = looksOf(thought, t, now.layer);
  const heads = Array.from({ length: thought.model.config.n_head }, (_, head) => {
    const weights = [...looks.subarray((head * T + token) * T, (head * T + token + 1) * T)];
    const seen = weights.map((weight, i) => ({ weight, i })).filter(({ weight }) => weight > 0.04);
    seen.sort((a, b) => b.weight - a.weight);
    const words = seen.slice(0, 4).map(({ weight, i }) => {
      const name = i === token ? "itself" : `token ${i + 1} (${nameOf(thought.tokens[i], world)})`;
      return `${name} ${(100 * weight).toFixed(0)} %`;
    });
    return element("li", {}, `Head ${head + 1} of attention takes from ${words.join(", ")}.`);
  });
  $("heads").replaceChildren(...heads);
}

function drawDamage() {
  const thought = thoughts[now.chosen];
  const { loop: t } = stopOf(thought);
  const token = tokenOf(thought);
  const where = `token ${token + 1} (${nameOf(thought.tokens[token], world)}) after loop ${t}`;
  const [noise, other, undo] = $("hurt").children;
  noise.textContent = `write noise over ${where}`;
  other.textContent = `write “${nameOf(second(thought, t, token), world)}” there`;
  const isLast = t === thought.after.length - 1; // nothing comes after it that could heal
  noise.disabled = other.disabled = isLast;
  undo.disabled = !thought.hurt;
  const choose = isLast ? "Choose an earlier loop." : "";
  $("healed").textContent = thought.hurt ? sayHealed(thought) : choose;
}

function sayHealed(thought) {
  const { t } = thought.hurt;
  const loop = healedAfter(thought);
  const last = thought.after.length - 1;
  const end =
    loop === null
      ? `even after loop ${last} some answers are not what they would have been`
      : loop === t
        ? "no answer has changed"
        : `from loop ${loop} on, all answers are what they would have been`;
  return `Overwritten after loop ${t}: ${end}.`;
}

// A curve of what each rule measures, and where it would stop each model.
function drawRules() {
  for (const rule of Object.keys(ABOUT_RULES)) {
    const { picture, list } = slots.rules[rule];
    const seen = thoughts.filter((_, m) => !slots.models[m].section.hidden);
    if (rule !== "fixed")
      picture.innerHTML = drawRule(
        rule,
        now.thresholds[rule],
        seen,
        now.loops,
        picture.clientWidth,
      );
    const lines = seen.map((thought) => {
      const { loop, early } = stopOf(thought, rule);
      const { name, size } = stepOf(thought.model);
      const where = `${name} ${loop * size}`;
      const ends = !thought.model.config.tied && loop === thought.model.config.loops;
      const text =
        early || rule === "fixed"
          ? `stops after ${where}: `
          : ends
            ? `never stops: it ends after ${where}: `
            : `still going at ${where}: `;
      return element("li", {}, swatch(thoughts.indexOf(thought)), text, ...judged(thought, loop));
    });
    list.replaceChildren(...lines);
  }
}

function drawPath() {
  const thought = thoughts[now.chosen];
  const token = tokenOf(thought);
  if (thought.walked?.token !== token) {
    const found = paths(thought, token);
    thought.walked = { token, found, ...plane(found.flatMap((path) => path.points)) };
  }
  const { found, places, share } = thought.walked;
  const { loop: t } = stopOf(thought);
  const name = nameOf(thought.tokens[token], world);
  const C = thought.model.config.n_embd;
  $("path-what").replaceChildren(
    `The state of token ${token + 1} (${name}) after each loop, ${C} numbers, in the plane of ` +
      "the two directions in which it differs most " +
      `(${(100 * share).toFixed(0)} % of the differences). ` +
      "A cross: the start. A ring: where the model stops; a square: the last loop. Starts: ",
    ...found.map(({ name }, start) => key(start, name)),
  );
  const width = Math.min(widthOf($("path")), 560);
  $("path").innerHTML = drawPaths(found, places, now.loops, t, width);
}

// -------------------------------------------------------------------------------------------------
// Build: the fields and panels, once

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function swatch(m) {
  return element("span", { className: "swatch", innerHTML: drawSwatch(m) });
}

// A swatch and its word, which no line break parts.
function key(m, ...words) {
  return element("span", { className: "key" }, swatch(m), ...words);
}

function button(text, act, more = {}) {
  return element("button", { type: "button", textContent: text, onclick: act, ...more });
}

function choice(name, options, act, id = "") {
  const select = element("select", { id, onchange: () => act(select.value) });
  offer(select, options);
  return element("label", {}, `${name} `, select);
}

function offer(select, options) {
  select.replaceChildren(
    ...options.map(([value, text]) => element("option", { value, textContent: text })),
  );
}

function buildModel(model, m) {
  const picture = element("div", { className: "picture" });
  const note = element("p", { className: "small" });
  const about = element("small", { textContent: model.about });
  const section = element(
    "section",
    {},
    element("h2", {}, swatch(m), model.name),
    about,
    picture,
    note,
  );
  const choose = () => {
    now.chosen = m;
    draw();
  };
  const verdict = button("", choose);
  for (const place of [section, verdict]) if (m > 0) place.dataset.stops = "4";
  picture.onclick = ({ target, clientY }) => {
    const { token, top, row } = target.dataset ?? {};
    if (token === undefined) return;
    // of a board one takes the cell; of the loops the token and, below their names, the loop
    const y = clientY - target.getBoundingClientRect().top;
    const loop = row && y > top ? Math.min(Math.ceil((y - top) / row), page.most) : now.loops;
    const again = world.task !== "sudoku" && now.token === +token && now.loops === loop;
    now.token = again ? null : +token;
    now.loops = loop;
    choose();
  };
  slots.models[m] = { picture, note, section, verdict };
  $("models").append(section);
  $("verdicts").append(verdict);
}

function buildLooking() {
  const redraw = (change) => (value) => {
    change(+value);
    draw();
  };
  const numbered = (n) => Array.from({ length: n }, (_, i) => [i, i + 1]);
  const most = (setting) => numbered(Math.max(...models.map(({ config }) => config[setting])));
  const look = redraw((value) => (now.token = value < 0 ? null : value));
  $("looking").append(choice("look at", [], look, "token"));
  $("looking").append(
    choice(
      "arcs of head",
      most("n_head"),
      redraw((value) => (now.head = value)),
    ),
  );
  const layers = choice(
    "layer",
    most("n_core"),
    redraw((value) => (now.layer = value)),
  );
  if (most("n_core").length > 1) $("looking").append(layers);
  $("channel").oninput = redraw(() => (now.channel = $("channel").value - 1));
  $("opened").onpointermove = ({ clientX }) => {
    const strips = $("opened").firstElementChild;
    if (!strips) return;
    const { left, width } = strips.getBoundingClientRect();
    const C = models[now.chosen].config.n_embd;
    now.channel = Math.min(Math.max(Math.floor(((clientX - left) / width) * C), 0), C - 1);
    drawLoopOpened();
  };
  const box = (className, text, id = "") =>
    element("span", { id }, element("span", { className, textContent: "\u00a0" }), text);
  const isBoard = world.task === "sudoku";
  const arcs = element("span", {}, "arcs: where a head looks, the darker, the more");
  const circle = element("span", {}, "a circle: it looks at itself");
  if (isBoard) $("click").remove();
  $("legend").append(
    box("right", " right"),
    box("wrong", " wrong, if it stopped here"),
    element(
      "span",
      {},
      `a column: a ${isBoard ? "blank" : "token"}; a row: a loop; ` +
        "frame: the loop whose answer counts",
    ),
    ...(isBoard ? [] : [arcs, circle]),
    box("pale", " after it has stopped", "pale"),
    box("hurt", " overwritten", "hurt-key"),
  );
}

function buildDamage() {
  const hurt = (kind) => () => {
    const thought = thoughts[now.chosen];
    damage(thought, stopOf(thought).loop, tokenOf(thought), kind);
    draw();
  };
  const undo = button("undo", () => ask(now.question));
  $("hurt").append(button("", hurt("noise")), button("", hurt("other")), undo);
}

function buildRule(rule) {
  const radio = element("input", {
    type: "radio",
    name: "rule",
    value: rule,
    checked: rule === now.rule,
  });
  radio.onchange = () => {
    now.rule = rule;
    draw();
  };
  const picture = element("div");
  const list = element("ul");
  const made = element("div", {}, element("label", {}, radio, ABOUT_RULES[rule]));
  slots.rules[rule] = { picture, list };
  if (rule !== "fixed") {
    const field = element("input", { type: "text", inputMode: "decimal", id: `threshold-${rule}` });
    field.value = now.thresholds[rule];
    const problem = element("p", { className: "problem", role: "alert" });
    field.oninput = () => {
      const value = Number(field.value.replace(",", "."));
      field.setAttribute("aria-invalid", !(value > 0));
      problem.textContent = value > 0 ? "" : "Type a number above 0.";
      if (value > 0) {
        now.thresholds[rule] = value;
        draw();
      }
    };
    const named = element("label", {}, "stops below ", field);
    named.style.fontWeight = "400";
    made.append(named, problem);
  }
  made.append(picture, list);
  return made;
}

// Read what was typed; what cannot be read is said, and the question before it stays.
function read(text) {
  let problem = "";
  try {
    const question = task.read(text, world);
    $("level").value = page.examples.findIndex(([, texts]) => texts.includes(text)); // -1: own
    ask(question);
  } catch (error) {
    if (!(error instanceof Error) || error.constructor !== Error) throw error;
    problem = error.message;
  }
  $("problem").textContent = problem;
  $("watch").classList.toggle("unread", problem !== ""); // what stands below is the last question's
}

// Each task has fields of its own; `show` writes a question into them.
const FIELDS = {
  text(place) {
    const field = element("input", {
      type: "text",
      id: "question",
      spellcheck: false,
      autocomplete: "off",
    });
    field.setAttribute("aria-label", "the question");
    field.autocapitalize = "off";
    field.oninput = () => read(field.value);
    place.append(field);
    return (text) => (field.value = text);
  },
  multihop(place) {
    const show = FIELDS.text(place);
    const field = place.querySelector("#question");
    const { names, entities, relations } = world;
    const change = (text) => {
      show(text);
      read(text);
    };
    for (let r = entities; r < entities + relations; r++)
      place.append(button(`+ ${names[r]}`, () => change(`${field.value.trim()} ${names[r]}`)));
    const shorter = () => change(field.value.trim().replace(/\s+\S+$/, ""));
    place.append(button("⌫", shorter, { ariaLabel: "remove the last road" }));
    return show;
  },
  addition(place) {
    const fields = ["first", "second"].map((name) => {
      const field = element("input", {
        type: "text",
        inputMode: "numeric",
        id: name,
        autocomplete: "off",
      });
      field.setAttribute("aria-label", `${name} number`);
      return field;
    });
    fields.forEach(
      (field) => (field.oninput = () => read(fields.map((each) => each.value).join("+"))),
    );
    place.append(fields[0], "+", fields[1]);
    return (text) => text.split("+").forEach((number, i) => (fields[i].value = number));
  },
  sudoku(place) {
    const { n, box } = world;
    const cells = [];
    const board = element("div", { className: "board" });
    const press = (digit) => {
      const text = cells
        .map((cell, i) => (i === tokenOf() ? digit || "." : cell.textContent || "."))
        .join("");
      show(text);
      read(text);
    };
    const go = (cell) => {
      now.token = cell;
      cells.forEach((each, i) => {
        each.setAttribute("aria-pressed", i === cell);
        each.tabIndex = i === cell ? 0 : -1;
      });
    };
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -n, ArrowDown: n };
    for (let i = 0; i < n * n; i++) {
      const made = button("", () => {
        go(i);
        draw();
      });
      made.classList.toggle("right-edge", (i % n) % box[1] === box[1] - 1);
      made.classList.toggle("lower-edge", Math.floor(i / n) % box[0] === box[0] - 1);
      made.onkeydown = (event) => {
        const to = i + (move[event.key] ?? 0);
        if (event.key in move && to >= 0 && to < n * n) {
          go(to);
          cells[to].focus();
          event.preventDefault();
        }
        if (event.key >= "0" && event.key <= String(n)) press(+event.key);
        if (["Backspace", "Delete", "."].includes(event.key)) press(0);
      };
      cells.push(made);
    }
    board.style.gridTemplateColumns = `repeat(${n}, max-content)`;
    board.append(...cells);
    const digits = element("div", { className: "row" });
    for (let digit = 1; digit <= n; digit++) digits.append(button(digit, () => press(digit)));
    digits.append(button("blank", () => press(0)));
    const how = element("span", { className: "small", textContent: "choose a cell, then a digit" });
    place.append(board, element("div", {}, how, digits));
    const show = (text) => {
      [...text].forEach((c, i) => {
        cells[i].textContent = c === "." ? "" : c;
        const place = `row ${Math.floor(i / n) + 1}, column ${(i % n) + 1}`;
        const what = `${place}: ${c === "." ? "blank" : c}`;
        cells[i].setAttribute("aria-label", what);
      });
      go(tokenOf());
    };
    return show;
  },
};

// A button that plays: `step` goes one further and says whether there is more. A person who wants
// no motion on the screen gets one step for each press.
function player(play, begin, step) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still) play.ariaLabel = play.title = "next loop";
  let timer = null;
  let going = false; // between two presses, for a person who wants no motion
  const pause = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
  };
  play.onclick = () => {
    if (timer) return pause();
    if (!going) begin();
    if (still) return void (going = step());
    play.textContent = "❚❚";
    timer = setInterval(() => step() || pause(), 300);
  };
  return pause;
}

// -------------------------------------------------------------------------------------------------
// The tour: a stop shows what bears its number in data-stops; "explore" shows all

const STOPS = page.tour ? Object.keys(page.tour) : ["explore"];

function go(stop) {
  const { question, level, loops, rule, token } = page.tour?.[stop] ?? {};
  const focused = document.activeElement;
  now.stop = stop;
  now.chosen = 0;
  for (const place of document.querySelectorAll("[data-stops]")) {
    const stops = place.dataset.stops.split(" ");
    place.hidden = !stops.includes(stop) && (stop !== "explore" || place.tagName === "ARTICLE");
  }
  for (const each of $("stops").children)
    each.setAttribute("aria-current", each.dataset.stop === stop ? "step" : "false");
  for (const back of document.querySelectorAll(".back")) back.disabled = stop === STOPS[0];
  for (const next of document.querySelectorAll(".next")) next.disabled = stop === STOPS.at(-1);
  now.rule = rule ?? "fixed";
  for (const radio of document.querySelectorAll("[name=rule]"))
    radio.checked = radio.value === now.rule;
  if (question) {
    now.loops = loops;
    slots.show(question);
    read(question);
    now.token = token ?? null;
    $("level").value = page.examples.findIndex(([name]) => name === level);
  }
  // a button that is switched off loses the focus, at once or later
  const heading = headingOf(stop);
  if (focused?.disabled) heading?.focus({ preventScroll: true });
  dispatchEvent(new Event("resize")); // all that is visible now is drawn
}

function headingOf(stop) {
  return document.querySelector(`article[data-stops="${stop}"] h2`);
}

function buildTour() {
  $("tour").hidden = $("onward").hidden = !page.tour;
  document.body.classList.toggle("touring", page.tour !== null);
  for (const [name, text] of Object.entries(page.words))
    for (const place of document.querySelectorAll(`[data-word=${name}]`)) place.textContent = text;
  for (const place of document.querySelectorAll("[data-if]"))
    place.hidden = !page.words[place.dataset.if];
  for (const stop of STOPS) headingOf(stop).tabIndex = -1;
  const hash = (stop) => (location.hash = stop);
  $("stops").append(
    ...STOPS.map((stop) => {
      const made = button(stop, () => hash(stop), { ariaLabel: headingOf(stop).textContent });
      made.dataset.stop = stop;
      return made;
    }),
  );
  const along = (by) => () => {
    hash(STOPS[STOPS.indexOf(now.stop) + by]);
    $("tour").scrollIntoView();
  };
  for (const back of document.querySelectorAll(".back")) back.onclick = along(-1);
  for (const next of document.querySelectorAll(".next")) next.onclick = along(1);
  const arrive = () => {
    const stop = location.hash.slice(1);
    go(STOPS.includes(stop) ? stop : STOPS[0]);
  };
  addEventListener("hashchange", arrive);
  arrive();
}

function build() {
  if (!page.tour) $("walk").before(element("p", { textContent: task.about }));
  const place = element("div", { className: "row" });
  const more = element("div", { className: "row" });
  $("ask").append(place, more);
  slots.show = (FIELDS[world.task] ?? FIELDS.text)(place);
  const turn = page.examples.map(() => 0);
  const example = () => {
    const level = $("level").value < 0 ? page.start : +$("level").value;
    const [, texts] = page.examples[level];
    const text = texts[turn[level]++ % texts.length];
    slots.show(text);
    read(text);
    $("level").value = level;
  };
  const names = page.examples.map(([name], i) => [i, name]);
  const level = choice("a test question of", [...names, [-1, "own question"]], example, "level");
  level.querySelector("option[value='-1']").disabled = true; // it is shown, not chosen
  more.append(level, button("another", example, { id: "another" }));
  models.forEach(buildModel);
  if (models.length < 2) $("tap").remove();
  buildLooking();
  buildDamage();
  $("rules").append(...["fixed", ...Object.keys(page.rules)].map(buildRule));
  const slider = $("loops");
  slider.max = page.most;
  slider.oninput = () => {
    now.loops = +slider.value;
    draw();
  };
  let end = page.loops;
  player(
    $("play"),
    () => {
      end = now.loops > 1 ? now.loops : page.loops;
      now.loops = 0;
    },
    () => {
      now.loops = Math.min(now.loops + 1, page.most);
      draw();
      return now.loops < end;
    },
  );
  buildTraining();
  for (const [part, buildPart] of Object.entries({ boards: buildBoards, grokking: buildGrokking }))
    page[part] ? buildPart(page[part]) : $(part).remove();
  addEventListener("resize", draw);
  $("level").value = page.start;
  example();
  buildTour();
}

build();
