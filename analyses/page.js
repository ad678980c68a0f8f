"use strict";
// What is seen: fields for a question, and a picture of what each model makes of it. Nothing here
// computes a model.

const page = JSON.parse(document.getElementById("data").textContent);
const { world } = page;
const task = TASKS[world.task];
const COLORS = ["#0072b2", "#e69f00", "#009e73", "#666666"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3"]; // of the models
// what lies over a token, to be pressed
const PRESSED = { fill: "transparent", style: "cursor:pointer" };
const ABOUT_RULES = {
  settle: "settle: how far a loop moves the state",
  kl: "kl: how far it moves the answer (nats)",
  entropy: "entropy: how undecided the answer is (nats)",
  fixed: "fixed: as many loops as the slider says",
};
const now = {
  question: null,
  loops: page.loops,
  rule: "fixed",
  thresholds: { ...page.rules },
  cell: 0,
};
const models = page.models.map(unpack);

function unpack(model) {
  const text = atob(model.weights);
  const bytes = new Uint8Array(text.length);
  const weights = {};
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const numbers = new Float32Array(bytes.buffer);
  let from = 0;
  for (const [name, length] of Object.entries(model.tensors))
    weights[name] = Float64Array.from(numbers.subarray(from, (from += length)));
  return { ...model, weights, head: 0, layer: 0, from: null };
}

// -------------------------------------------------------------------------------------------------
// Ask: everything about a question is computed once, for the most loops of the slider

function ask(question) {
  now.question = question;
  for (const model of models) {
    model.tokens = task.tokens(question, world, model.setting);
    model.truth = task.truth(model.tokens, world);
    model.answers = task.answers(model.tokens);
    const tokens = model.tokens.map((token, i) => [i, `${i + 1}: ${nameOf(token, world)}`]);
    offer(model.places.from, [[-1, "every token"], ...tokens]);
    model.from = null; // every token
    model.after = []; // what there is after 0, 1, 2, .. loops
    for (const state of states(model, model.tokens)) {
      model.after.push(look(model, state));
      if (model.after.length > page.most) break;
    }
  }
  document.getElementById("explain").textContent = task.explain(question, world);
  draw();
}

// A state with what is read from it: the prediction at every token, and what the exit rules
// measure.
function look(model, state) {
  const logits = readout(model, state.h);
  const V = logits.length / model.tokens.length;
  const before = model.after.at(-1);
  const rows = model.tokens.map((_, i) => logits.subarray(i * V, (i + 1) * V));
  const found = {
    ...state,
    prediction: rows.map((row) => row.indexOf(Math.max(...row))),
    logP: rows.map(logSoftmax),
  };
  for (const rule in RULES) if (before) found[rule] = RULES[rule](before, found, model.answers);
  return found;
}

// The loop after which a model stops, at the latest after `most`; and whether the rule said so:
// {loop, early}
function stop(model, rule, most) {
  most = Math.min(most, model.after.length - 1);
  for (let t = 1; t <= most && rule !== "fixed"; t++)
    if (model.after[t][rule] < now.thresholds[rule]) return { loop: t, early: true };
  return { loop: most, early: false };
}

function isRight(model, t) {
  return model.answers.every((i) => model.after[t].prediction[i] === model.truth[i]);
}

// -------------------------------------------------------------------------------------------------
// Draw

function draw() {
  document.getElementById("loops").value = now.loops;
  document.getElementById("count").textContent = `${now.loops} loop${now.loops === 1 ? "" : "s"}`;
  for (const model of models) drawModel(model);
  drawRules();
}

function drawModel(model) {
  const { loop: t, early } = stop(model, now.rule, now.loops);
  const { said, picture, note } = model.places;
  const ran = `${t} loop${t === 1 ? "" : "s"}`;
  const ends = !model.config.tied && t === model.config.loops && now.loops > t;
  note.textContent = early
    ? `It stopped by itself after ${ran}.`
    : ends
      ? "It has no more layers than these."
      : "";
  said.replaceChildren(...judged(model, t), ` after ${ran}`);
  model.places.from.value = model.from ?? -1;
  model.width = Math.max(picture.clientWidth, 240);
  picture.innerHTML = (world.task === "sudoku" ? drawBoard(model, t) : "") + drawLoops(model, t);
}

// What a model says after t loops, and whether it is right: in words, too, as a colour alone does
// not reach everyone.
function judged(model, t) {
  const right = isRight(model, t);
  const chip = element("span", { className: right ? "right" : "wrong" });
  const text = task.say(model.after[t].prediction, world, model.answers);
  const places = model.answers.filter(
    (i) => model.after[t].prediction[i] === model.truth[i],
  ).length;
  chip.textContent = text || `${places} of ${model.answers.length} blanks`;
  return [chip, right ? " right" : text ? " wrong" : " right"];
}

// SVG as text, which is quicker to make anew at every step of a drag than elements are:
// tag("path", {d, strokeWidth: 2})
function tag(name, attributes, inside = "") {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const hyphened = (key) => key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  const written = given.map(([key, value]) => ` ${hyphened(key)}="${value}"`).join("");
  return `<${name}${written}>${inside}</${name}>`;
}

function label(x, y, text, more = {}) {
  return tag("text", { x, y, textAnchor: "middle", ...more }, escaped(text));
}

function escaped(text) {
  return String(text).replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
}

function drawing(width, height, what, parts) {
  return tag("svg", { width, height, role: "img", ariaLabel: what }, parts.join(""));
}

// A column for each token: arcs, the token, the answer by now, and a row for each loop so far.
function drawLoops(model, t) {
  const { after } = model;
  const isBoard = world.task === "sudoku";
  const parts = [];
  const inOrder = task.order ? task.order(model.tokens, world) : model.tokens.map((_, i) => i);
  const columns = isBoard ? model.answers : inOrder;
  const names = model.tokens.map((token) => nameOf(token, world));
  const longest = Math.max(...names.map((name) => name.length));
  const turned = longest > 3; // long names are turned
  const narrowest = isBoard ? 5 : turned ? 17 : Math.max(13, 3 + 7 * longest);
  const left = 54;
  const width = Math.max(narrowest, Math.min(36, (model.width - left - 2) / columns.length));
  const arcs = isBoard ? 0 : 76;
  const question = arcs + (isBoard ? 16 : turned ? 50 : 24);
  const top = question + (isBoard ? 6 : 36);
  const most = Math.min(now.loops, after.length - 1);
  const height = 300;
  const rowHeight = height / Math.max(now.loops, 12);
  const x = (column) => left + (column + 0.5) * width;
  const y = (loop) => top + (loop - 1) * rowHeight;

  const drawCell = (column, y, height, loop, faded) => {
    const i = columns[column];
    const prediction = after[loop].prediction[i];
    const right = prediction === model.truth[i];
    if (model.truth[i] === null) return;
    const box = { x: x(column) - width / 2, y, width: width - 1, height: Math.max(height - 1, 1) };
    parts.push(
      tag("rect", {
        ...box,
        fill: right ? "#0072b2" : "#e4e4e4",
        opacity: faded ? 0.3 : undefined,
      }),
    );
    if (isBoard || Math.min(height, width) < 13) return; // too small for a name
    const fill = right && !faded ? "#fff" : "#333";
    parts.push(label(x(column), y + height / 2 + 4, nameOf(prediction, world), { fill }));
  };

  if (isBoard)
    parts.push(
      tag("text", { x: left, y: 12, fill: "#666" }, "the blanks, one a column, after each loop"),
    );
  else {
    parts.push(drawArcs(model, t, columns, x, arcs));
    parts.push(tag("text", { x: 0, y: question - 8 }, "question"));
    parts.push(tag("text", { x: 0, y: question + 18, fontWeight: 700 }, `loop ${t}`));
    columns.forEach((i, column) => {
      const at = x(column) + (turned ? 4 : 0);
      const turn = { transform: `rotate(-90 ${at} ${question - 8})`, textAnchor: "start" };
      parts.push(label(at, question - 8, names[i], { fontWeight: 700, ...(turned ? turn : {}) }));
      drawCell(column, question, 26, t, false);
    });
  }
  const every = Math.ceil(14 / rowHeight); // how many rows a number takes
  for (let loop = 1; loop <= most; loop++) {
    const style = loop === t ? { fontWeight: 700 } : { fill: "#666" };
    if (loop === t || (loop % every === 0 && Math.abs(loop - t) >= every))
      parts.push(
        label(left - 6, y(loop) + rowHeight / 2 + 4, loop, { ...style, textAnchor: "end" }),
      );
    columns.forEach((_, column) => drawCell(column, y(loop), rowHeight, loop, loop > t));
  }
  const frame = {
    x: left - 1,
    y: y(t) - 1,
    width: width * columns.length + 1,
    height: rowHeight + 1,
  };
  parts.push(tag("rect", { ...frame, fill: "none", stroke: "#111", strokeWidth: 1.5 }));
  if (!isBoard)
    columns.forEach((i, column) => {
      const place = { x: x(column) - width / 2, y: 0, width, height: top };
      const title = tag("title", {}, `where ${escaped(names[i])} looks`);
      parts.push(tag("rect", { ...place, ...PRESSED, dataToken: i }, title));
    });
  const places = `the answer at each of ${columns.length} places`;
  const what = `after each of ${most} loops, ${places}: blue is right`;
  return drawing(left + width * columns.length + 2, top + height + 4, what, parts);
}

// Where the chosen head of the chosen layer looks in loop t: an arc from the token that looks to
// the one that it looks at, as dark as the weight.
function drawArcs(model, t, columns, x, height) {
  const T = model.tokens.length;
  const looks = model.after[t].attention[model.layer];
  const arcs = [];
  const column = [];
  columns.forEach((i, at) => (column[i] = at));
  for (let i = 0; i < T; i++)
    for (let j = 0; j < T; j++) {
      const weight = looks[(model.head * T + i) * T + j];
      const shown = model.from === null || model.from === i;
      if (shown && weight > 0.04) arcs.push({ i, j, weight, far: Math.abs(column[i] - column[j]) });
    }
  const farthest = Math.max(4, ...arcs.map((arc) => arc.far));
  const parts = arcs.map(({ i, j, weight, far }) => {
    const a = x(column[i]);
    const b = x(column[j]);
    const up = height - 1.25 * (height - 8) * Math.sqrt(far / farthest);
    const dark = { strokeOpacity: weight.toFixed(2), strokeWidth: (0.8 + 2 * weight).toFixed(1) };
    const line = { fill: "none", stroke: "#111", ...dark };
    if (i === j) return tag("circle", { cx: a, cy: height - 5, r: 4, ...line });
    return tag("path", { d: `M${a} ${height} C${a} ${up} ${b} ${up} ${b} ${height}`, ...line });
  });
  const mark = model.from === null ? [] : [`M${x(column[model.from]) - 5} ${height + 4} h10`];
  return [...parts, ...mark.map((d) => tag("path", { d, stroke: "#e69f00", strokeWidth: 4 }))].join(
    "",
  );
}

// The board after t loops, and where the chosen cell looks: arcs, and orange cells.
function drawBoard(model, t) {
  const { n, box } = world;
  const T = n * n;
  const size = Math.min(44, (model.width - 4) / n);
  const half = size / 2;
  const parts = [];
  const { prediction, attention } = model.after[t];
  const from = model.from ?? now.cell;
  const looks = attention[model.layer].subarray(
    (model.head * T + from) * T,
    (model.head * T + from + 1) * T,
  );
  // the middle of a cell
  const at = (i) => [2 + (i % n) * size + half, 2 + Math.floor(i / n) * size + half];
  const square = (x, y, side = size) => ({
    x: x - side / 2,
    y: y - side / 2,
    width: side,
    height: side,
  });
  const overlays = [];
  const [x, y] = at(from);
  model.tokens.forEach((given, i) => {
    const [a, b] = at(i);
    const weight = looks[i];
    const wrong = !given && prediction[i] !== model.truth[i];
    const color = given ? "#111" : wrong ? "#b35900" : "#0072b2";
    const bend = 0.18 * Math.hypot(a - x, b - y);
    const style = {
      fill: color,
      fontWeight: given ? 700 : undefined,
      style: `font-size:${half}px`,
    };
    parts.push(
      tag("rect", { ...square(a, b), fill: "#e69f00", fillOpacity: (0.75 * weight).toFixed(2) }),
    );
    parts.push(label(a, b + size / 6, given || prediction[i], style));
    if (wrong)
      parts.push(tag("path", { d: `M${a - size / 4} ${b + size / 3.2} h${half}`, stroke: color }));
    const d = `M${x} ${y} Q${(x + a) / 2 + bend} ${(y + b) / 2 - bend} ${a} ${b}`;
    const dark = { strokeWidth: 1.5, strokeOpacity: Math.min(1, 0.15 + weight).toFixed(2) };
    if (weight > 0.04 && i !== from)
      overlays.push(tag("path", { d, fill: "none", stroke: "#111", ...dark }));
  });
  for (let i = 0; i <= n; i++) {
    const end = 2 + n * size;
    const place = 2 + i * size;
    const thick = (each) => ({ stroke: "#111", strokeWidth: i % each ? 0.4 : 2 });
    parts.push(tag("path", { d: `M2 ${place} H${end}`, ...thick(box[0]) }));
    parts.push(tag("path", { d: `M${place} 2 V${end}`, ...thick(box[1]) }));
  }
  parts.push(...overlays);
  const dashed = { fill: "none", stroke: "#111", strokeWidth: 2, strokeDasharray: "3 2" };
  parts.push(tag("rect", { ...square(x, y, size - 4), ...dashed }));
  model.tokens.forEach((_, i) =>
    parts.push(tag("rect", { ...square(...at(i)), ...PRESSED, dataToken: i })),
  );
  const what = `the board after loop ${t}; blue digits are right, underlined ones wrong`;
  return drawing(4 + n * size, 10 + n * size, what, parts);
}

// A curve of what each rule measures, and where it would stop each model.
function drawRules() {
  for (const rule of Object.keys(ABOUT_RULES)) {
    const { picture, list } = now.places[rule];
    if (rule !== "fixed") picture.innerHTML = drawCurve(rule, picture.clientWidth);
    const lines = models.map((model) => {
      const { loop, early } = stop(model, rule, now.loops);
      const stops = early || rule === "fixed";
      const text = stops ? `stops after loop ${loop}: ` : `still going at loop ${loop}: `;
      return element("li", {}, swatch(model), text, ...judged(model, loop));
    });
    list.replaceChildren(...lines);
  }
}

function drawCurve(rule, width) {
  const left = 50;
  const right = width - 8;
  const height = 120;
  const floor = 1e-5;
  const parts = []; // what is less is drawn as 0
  const last = Math.max(...models.map((model) => model.after.length - 1));
  const threshold = now.thresholds[rule];
  const values = models.map((model) =>
    model.after.slice(1).map((each) => Math.max(each[rule], floor)),
  );
  const high = Math.log10(Math.max(1, threshold, ...values.flat()));
  const low = Math.log10(floor);
  const x = (t) => left + ((right - left) * (t - 1)) / Math.max(last - 1, 1);
  const y = (value) => 6 + (height * (high - Math.log10(Math.max(value, floor)))) / (high - low);
  for (const power of [-5, -4, -2, 0, 2].filter((power) => power <= high)) {
    const at = y(10 ** power);
    const style = { textAnchor: "end", fill: "#666" };
    parts.push(tag("path", { d: `M${left} ${at} H${right}`, stroke: "#e4e4e4" }));
    parts.push(label(left - 5, at + 4, power === -5 ? 0 : 10 ** power, style));
  }
  for (const t of [1, 8, 16, 24, 32, 48, 64, 96].filter((t) => t <= last))
    parts.push(label(x(t), height + 22, t, { fill: "#666" }));
  parts.push(
    tag("path", {
      d: `M${x(Math.min(now.loops, last))} 6 V${height + 6}`,
      stroke: "#111",
      strokeWidth: 0.8,
    }),
  );
  parts.push(
    tag("path", {
      d: `M${left} ${y(threshold)} H${right}`,
      stroke: "#111",
      strokeDasharray: "4 3",
    }),
  );
  models.forEach((model, m) => {
    const line = { stroke: COLORS[m % 4], strokeWidth: 2, strokeDasharray: DASHES[m % 4] };
    const points = values[m]
      .map((value, i) => `${x(i + 1).toFixed(1)},${y(value).toFixed(1)}`)
      .join(" ");
    parts.push(tag("polyline", { points, fill: "none", ...line }));
    const { loop, early } = stop(model, rule, now.loops);
    const dot = { cx: x(loop), cy: y(model.after[loop][rule]), r: 4.5, fill: "#fff" };
    if (early) parts.push(tag("circle", { ...dot, ...line, strokeDasharray: "" }));
  });
  return drawing(
    width,
    height + 28,
    `${rule} over loops, with a dashed threshold; circles where it stops`,
    parts,
  );
}

// -------------------------------------------------------------------------------------------------
// Build: the fields and panels, once

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function swatch(model) {
  const m = models.indexOf(model);
  const made = element("span", { className: "swatch" });
  made.style.borderTopColor = COLORS[m % 4];
  made.style.borderTopStyle = ["solid", "dashed", "dotted", "double"][m % 4];
  return made;
}

function button(text, act, more = {}) {
  return element("button", { type: "button", textContent: text, onclick: act, ...more });
}

function choice(name, options, act) {
  const select = element("select", { onchange: () => act(select.value) });
  offer(select, options);
  return element("label", {}, `${name} `, select);
}

function offer(select, options) {
  select.replaceChildren(
    ...options.map(([value, text]) => element("option", { value, textContent: text })),
  );
}

function buildModel(model) {
  const said = element("p", { className: "said", ariaLive: "polite" });
  const picture = element("div", { className: "picture" });
  const note = element("p", { className: "small" });
  const { config } = model;
  const heading = element("h2", {}, swatch(model), model.name);
  const redraw = (change) => (value) => {
    change(+value);
    draw();
  };
  const chosen = element("div", { className: "row small" });
  const numbered = (n) => Array.from({ length: n }, (_, i) => [i, i + 1]);
  chosen.append(
    choice(
      "arcs of head",
      numbered(config.n_head),
      redraw((value) => (model.head = value)),
    ),
  );
  const layers = choice(
    "layer",
    numbered(config.n_core),
    redraw((value) => (model.layer = value)),
  );
  if (config.n_core > 1) chosen.append(layers);
  const from = choice(
    "from",
    [],
    redraw((value) => (model.from = value < 0 ? null : value)),
  );
  chosen.append(world.task === "sudoku" ? "from the framed cell" : from);
  picture.onclick = ({ target }) => {
    const token = target.dataset?.token;
    if (token === undefined) return;
    model.from = world.task !== "sudoku" && model.from === +token ? null : +token;
    draw();
  };
  model.places = { said, picture, note, from: from.querySelector("select") };
  return element(
    "section",
    {},
    heading,
    element("small", { textContent: model.about }),
    said,
    picture,
    chosen,
    note,
  );
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
  now.places = { ...now.places, [rule]: { picture, list } };
  if (rule !== "fixed") {
    const field = element("input", { type: "text", inputMode: "decimal", id: `threshold-${rule}` });
    field.value = now.thresholds[rule];
    field.oninput = () => {
      const value = Number(field.value.replace(",", "."));
      field.setAttribute("aria-invalid", !(value > 0));
      if (value > 0) {
        now.thresholds[rule] = value;
        draw();
      }
    };
    const named = element("label", {}, "stops below ", field);
    named.style.fontWeight = "400";
    made.append(named);
  }
  made.append(picture, list);
  return made;
}

// Read what was typed; what cannot be read is said, and the question before it stays.
function read(text) {
  const problem = document.getElementById("problem");
  const explain = document.getElementById("explain");
  try {
    const question = task.read(text, world);
    problem.textContent = "";
    explain.hidden = false;
    ask(question);
  } catch (error) {
    if (!(error instanceof Error) || error.constructor !== Error) throw error;
    explain.hidden = true;
    problem.textContent = `Please type ${error.message}.`;
  }
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
    place.append(button("⌫", shorter, { ariaLabel: "one relation less" }));
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
        .map((cell, i) => (i === now.cell ? digit || "." : cell.textContent || "."))
        .join("");
      show(text);
      read(text);
    };
    const go = (cell) => {
      now.cell = cell;
      cells.forEach((each, i) => {
        each.setAttribute("aria-pressed", i === cell);
        each.tabIndex = i === cell ? 0 : -1;
      });
    };
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -n, ArrowDown: n };
    for (let i = 0; i < n * n; i++) {
      const made = button("", () => {
        go(i);
        for (const model of models) model.from = null;
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
      go(now.cell);
    };
    return show;
  },
};

function build() {
  document.getElementById("about").textContent = task.about;
  const place = element("div", { className: "row" });
  const more = element("div", { className: "row" });
  document.getElementById("ask").append(place, more);
  const show = (FIELDS[world.task] ?? FIELDS.text)(place);
  const turn = page.examples.map(() => 0);
  let chosen = page.start;
  const example = () => {
    const [, texts] = page.examples[chosen];
    const text = texts[turn[chosen]++ % texts.length];
    show(text);
    read(text);
  };
  const names = page.examples.map(([name], i) => [i, name]);
  const levels = choice("a test question of", names, (value) => {
    chosen = +value;
    example();
  });
  levels.querySelector("select").value = chosen;
  more.append(levels, button("another", example, { id: "another" }));
  document.getElementById("models").append(...models.map(buildModel));
  const rules = ["fixed", ...Object.keys(page.rules)];
  document.getElementById("rules").append(...rules.map(buildRule));
  const slider = document.getElementById("loops");
  const play = document.getElementById("play");
  slider.max = page.most;
  slider.oninput = () => {
    now.loops = +slider.value;
    draw();
  };
  let timer = null;
  const pause = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
  };
  play.onclick = () => {
    if (timer) return pause();
    const end = now.loops > 1 ? now.loops : page.loops;
    now.loops = 0;
    play.textContent = "❚❚";
    timer = setInterval(() => {
      now.loops++;
      draw();
      if (now.loops >= end) pause();
    }, 300);
  };
  addEventListener("resize", draw);
  example();
}

build();
