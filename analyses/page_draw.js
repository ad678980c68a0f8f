"use strict";
// The pictures, as SVG in text, which is quicker to make anew at every step of a drag than elements
// are. Nothing is computed here that a model would have to know.

const BLUE = "#0072b2";
const ORANGE = "#b35900";
const COLORS = [BLUE, ORANGE, "#00785a", "#5f5f5f"]; // of models, and of starts
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const GREY_TEXT = { fill: "#5f5f5f" };
const PRESSED = { fill: "transparent", style: "cursor:pointer" }; // lies over a token

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

function line(d, color, more = {}) {
  return tag("path", { d, fill: "none", stroke: color, ...more });
}

// The line of model or start m, as it is drawn, to stand beside its name.
function drawSwatch(m) {
  const stroke = line("M0 4 H30", COLORS[m % 4], { strokeWidth: 3, strokeDasharray: DASHES[m % 4] });
  return tag("svg", { width: 30, height: 8, ariaHidden: true }, stroke);
}

// -------------------------------------------------------------------------------------------------
// The loops: a column for each token with its arcs, and a row for each loop. For a board the
// columns are its blanks, without arcs. `t` is the loop at which one looks, `loops` how many are
// drawn. `step` says what a row is: a loop, or in a stack so many layers.

function drawLoops(thought, t, loops, { world, order, width: space, looks, token, step }) {
  const { tokens, after, truth, answers, hurt } = thought;
  const isBoard = world.task === "sudoku";
  const columns = isBoard ? answers : order;
  const names = tokens.map((each) => nameOf(each, world));
  const longest = Math.max(...names.map((name) => name.length));
  const left = 40;
  const width = Math.max(isBoard ? 5 : 10, Math.min(36, (space - left - 2) / columns.length));
  const turned = width < 3 + 7 * longest; // names for which a column is too narrow are turned
  const arcs = isBoard ? 0 : 76;
  const top = isBoard ? 18 : arcs + (turned ? 14 + 7 * longest : 24);
  const most = Math.min(loops, after.length - 1);
  const rowHeight = 300 / Math.max(loops, 12);
  const x = (column) => left + (column + 0.5) * width;
  const y = (loop) => top + (loop - 1) * rowHeight;
  const parts = [];

  const drawCell = (column, loop) => {
    const i = columns[column];
    if (truth[i] === null) return;
    const prediction = after[loop].prediction[i];
    const right = prediction === truth[i];
    const faded = loop > t;
    const place = { x: x(column) - width / 2, y: y(loop) };
    const box = { ...place, width: width - 1, height: Math.max(rowHeight - 1, 1) };
    const fill = right ? BLUE : "#e4e4e4";
    parts.push(tag("rect", { ...box, fill, opacity: faded ? 0.3 : undefined }));
    if (isBoard || Math.min(rowHeight, width) < 11) return; // too small for a name
    const size = Math.min(12, rowHeight - 1);
    const text = { fill: right && !faded ? "#fff" : "#333", style: `font-size:${size}px` };
    const baseline = y(loop) + (rowHeight - 1) / 2 + 0.36 * size;
    parts.push(label(x(column), baseline, nameOf(prediction, world), text));
  };

  if (isBoard)
    parts.push(tag("text", { x: left, y: 12, ...GREY_TEXT }, "the blanks, one a column"));
  else {
    if (looks) parts.push(drawArcs(looks, tokens.length, columns, x, arcs, token));
    parts.push(tag("text", { x: 0, y: top - 8, ...GREY_TEXT }, step.name));
    columns.forEach((i, column) => {
      const at = x(column) + (turned ? 4 : 0);
      const turn = { transform: `rotate(-90 ${at} ${top - 6})`, textAnchor: "start" };
      const style = `font-size:${Math.min(12, width)}px`;
      parts.push(label(at, top - 6, names[i], { fontWeight: 700, style, ...(turned ? turn : {}) }));
    });
  }
  const every = Math.ceil(14 / rowHeight); // how many rows a number takes
  for (let loop = 1; loop <= most; loop++) {
    const style = loop === t ? { fontWeight: 700 } : GREY_TEXT;
    const at = { textAnchor: "end", ...style };
    if (loop === t || (loop % every === 0 && Math.abs(loop - t) >= every))
      parts.push(label(left - 6, y(loop) + rowHeight / 2 + 4, loop * step.size, at));
    columns.forEach((_, column) => drawCell(column, loop));
  }
  const across = { x: left - 1, width: width * columns.length + 1, height: rowHeight + 1 };
  if (t > 0)
    parts.push(
      tag("rect", { ...across, y: y(t) - 1, fill: "none", stroke: "#111", strokeWidth: 2 }),
    );
  if (hurt && hurt.t <= most) {
    const place = { x: x(columns.indexOf(hurt.token)) - width / 2 - 1, y: y(hurt.t) - 1 };
    const box = { ...place, width: width + 1, height: rowHeight + 1, fill: "none" };
    parts.push(tag("rect", { ...box, stroke: ORANGE, strokeWidth: 3 }));
  }
  const height = top + Math.max(most, 1) * rowHeight + 4;
  if (!isBoard)
    columns.forEach((i, column) => {
      const place = { x: x(column) - width / 2, y: 0, width, height };
      const title = tag("title", {}, `choose ${escaped(names[i])}`);
      const rows = { dataTop: top, dataRow: rowHeight }; // by which a press is a loop
      parts.push(tag("rect", { ...place, ...PRESSED, dataToken: i, ...rows }, title));
    });
  const places = `the answer at each of ${columns.length} columns`;
  const what = `after each of ${most * step.size} ${step.name}s, ${places}: blue is right`;
  return drawing(left + width * columns.length + 2, height, what, parts);
}

// Where a head looks: an arc from the token that looks to the one that it looks at, as dark as the
// weight. `token`: only the arcs of this one.
function drawArcs(looks, T, columns, x, height, token) {
  const arcs = [];
  const column = [];
  columns.forEach((i, at) => (column[i] = at));
  for (let i = 0; i < T; i++)
    for (let j = 0; j < T; j++) {
      const weight = looks[i * T + j];
      const shown = token === null || token === i;
      if (shown && weight > 0.04) arcs.push({ i, j, weight, far: Math.abs(column[i] - column[j]) });
    }
  const farthest = Math.max(4, ...arcs.map((arc) => arc.far));
  const parts = arcs.map(({ i, j, weight, far }) => {
    const a = x(column[i]);
    const b = x(column[j]);
    const up = height - 1.25 * (height - 8) * Math.sqrt(far / farthest);
    const dark = { strokeOpacity: weight.toFixed(2), strokeWidth: (0.8 + 2 * weight).toFixed(1) };
    const style = { fill: "none", stroke: "#111", ...dark };
    if (i === j) return tag("circle", { cx: a, cy: height - 5, r: 4, ...style });
    return tag("path", { d: `M${a} ${height} C${a} ${up} ${b} ${up} ${b} ${height}`, ...style });
  });
  if (token !== null)
    parts.push(line(`M${x(column[token]) - 6} ${height + 4} h12`, ORANGE, { strokeWidth: 4 }));
  return parts.join("");
}

// -------------------------------------------------------------------------------------------------
// A board after t loops, and with `looks` where the cell `from` looks: arcs, and orange cells.

function drawBoard({ tokens, after, truth }, t, { world, width, looks = null, from = null }) {
  const { n, box } = world;
  const size = Math.min(44, (width - 4) / n);
  const half = size / 2;
  const { prediction } = after[t];
  const middle = (i) => [2 + (i % n) * size + half, 2 + Math.floor(i / n) * size + half];
  const square = (i, side) => {
    const [x, y] = middle(i);
    return { x: x - side / 2, y: y - side / 2, width: side, height: side };
  };
  const parts = [];
  tokens.forEach((given, i) => {
    const [x, y] = middle(i);
    const wrong = !given && prediction[i] !== truth[i];
    const fill = given ? "#111" : wrong ? ORANGE : BLUE;
    const style = { fill, fontWeight: given ? 700 : undefined, style: `font-size:${half + 2}px` };
    if (looks) {
      const fillOpacity = (0.75 * looks[i]).toFixed(2);
      parts.push(tag("rect", { ...square(i, size), fill: "#e69f00", fillOpacity }));
    }
    parts.push(label(x, y + size / 6, given || prediction[i], style));
    if (wrong) parts.push(line(`M${x - size / 4} ${y + size / 3.2} h${half}`, fill));
  });
  for (let i = 0; i <= n; i++) {
    const end = 2 + n * size;
    const place = 2 + i * size;
    const thick = (each) => ({ strokeWidth: i % each ? 0.4 : 2 });
    parts.push(line(`M2 ${place} H${end}`, "#111", thick(box[0])));
    parts.push(line(`M${place} 2 V${end}`, "#111", thick(box[1])));
  }
  if (looks) {
    const [x, y] = middle(from);
    tokens.forEach((_, i) => {
      const [a, b] = middle(i);
      const bend = 0.18 * Math.hypot(a - x, b - y);
      const d = `M${x} ${y} Q${(x + a) / 2 + bend} ${(y + b) / 2 - bend} ${a} ${b}`;
      const strokeOpacity = Math.min(1, 0.15 + looks[i]).toFixed(2);
      if (looks[i] > 0.04 && i !== from)
        parts.push(line(d, "#111", { strokeWidth: 1.5, strokeOpacity }));
    });
    const dashed = { fill: "none", stroke: "#111", strokeWidth: 2, strokeDasharray: "3 2" };
    parts.push(tag("rect", { ...square(from, size - 4), ...dashed }));
    tokens.forEach((_, i) =>
      parts.push(tag("rect", { ...square(i, size), ...PRESSED, dataToken: i })),
    );
  }
  const what = `the board after loop ${t}; blue digits are right, underlined ones wrong`;
  return drawing(4 + n * size, 6 + n * size, what, parts);
}

// -------------------------------------------------------------------------------------------------
// One loop, opened: a strip of numbers for each step, blue above 0 and orange below.

function drawOpened(steps, channel, world, width) {
  const C = steps[0].numbers.length;
  const most = Math.max(...steps.flatMap(({ numbers }) => [...numbers].map(Math.abs)));
  const size = (width - 2) / C;
  const parts = [];
  steps.forEach(({ step, numbers, read, p }, row) => {
    const y = 48 * row;
    const value = numbers[channel].toFixed(3).replace("-", "−");
    parts.push(tag("text", { x: 0, y: y + 14, fontWeight: 700 }, step));
    const resembles = `${value} · like ${nameOf(read, world)}, ${(100 * p).toFixed(0)} %`;
    parts.push(label(width - 2, y + 14, resembles, { textAnchor: "end" }));
    numbers.forEach((x, c) => {
      const fillOpacity = (Math.abs(x) / most).toFixed(2);
      const cell = { x: (c * size).toFixed(1), y: y + 20, width: size.toFixed(2), height: 18 };
      parts.push(tag("rect", { ...cell, fill: x > 0 ? BLUE : ORANGE, fillOpacity }));
    });
    parts.push(
      tag("rect", { x: 0, y: y + 20, width: size * C, height: 18, fill: "none", stroke: "#999" }),
    );
    const chosen = { x: channel * size - 1, y: y + 18, width: size + 2, height: 22, fill: "none" };
    parts.push(tag("rect", { ...chosen, stroke: "#111", strokeWidth: 2 }));
  });
  const what = `${C} numbers of one token at ${steps.length} steps of one loop`;
  return drawing(width, 48 * steps.length, what, parts);
}

// -------------------------------------------------------------------------------------------------
// Paths in a plane as far as so many loops: a cross at the start, a dot for each loop, a square at
// the last. The first path is the one that one looks at; a ring marks loop t of it, where the model
// stops.

function drawPaths(found, places, loops, t, width) {
  const height = Math.min(360, width);
  const edge = (pick, axis) => pick(...places.map((place) => place[axis]));
  const [low, high] = [Math.min, Math.max].map((pick) => [edge(pick, 0), edge(pick, 1)]);
  const scale = Math.min(
    (width - 40) / (high[0] - low[0] || 1),
    (height - 40) / (high[1] - low[1] || 1),
  );
  const at = (place) =>
    place.map((x, axis) =>
      ([width, height][axis] / 2 + scale * (x - (low[axis] + high[axis]) / 2)).toFixed(1),
    );
  const parts = [];
  let from = 0;
  found.forEach(({ points }, start) => {
    const mine = places.slice(from, (from += points.length)).map(at);
    const color = COLORS[start % 4];
    const far = mine.slice(0, loops + 1);
    const thin = start ? { strokeOpacity: 0.5 } : { strokeWidth: 2 };
    parts.push(line(`M${far.join(" L")}`, color, { ...thin, strokeDasharray: DASHES[start % 4] }));
    for (const [cx, cy] of far)
      parts.push(tag("circle", { cx, cy, r: start ? 2 : 3, fill: color }));
    const [x, y] = far[0];
    parts.push(line(`M${x - 5} ${y - 5} l10 10 m0 -10 l-10 10`, color, { strokeWidth: 2 }));
    const [endX, endY] = far.at(-1);
    const square = { x: endX - 5, y: endY - 5, width: 10, height: 10 };
    parts.push(tag("rect", { ...square, fill: "none", stroke: "#111" }));
    if (start) return;
    const [cx, cy] = far[Math.min(t, far.length - 1)];
    parts.push(tag("circle", { cx, cy, r: 9, fill: "none", stroke: color, strokeWidth: 2 }));
  });
  return drawing(width, height, "the states after each loop, as paths in a plane", parts);
}

// -------------------------------------------------------------------------------------------------
// Curves: of what an exit rule measures, and of what a model can do while it is trained.

// What a rule measures in each loop of each thought; a dashed threshold, a ring where one stops.
function drawRule(rule, threshold, thoughts, loops, width) {
  const left = 50;
  const right = width - 8;
  const height = 120;
  const floor = 1e-5; // what is less is drawn as 0
  const last = Math.max(...thoughts.map(({ after }) => after.length - 1));
  const values = thoughts.map(({ after }) =>
    after.slice(1).map((each) => Math.max(each[rule], floor)),
  );
  const high = Math.log10(Math.max(1, threshold, ...values.flat()));
  const low = Math.log10(floor);
  const x = (t) => left + ((right - left) * (t - 1)) / Math.max(last - 1, 1);
  const y = (value) => 6 + (height * (high - Math.log10(Math.max(value, floor)))) / (high - low);
  const parts = [];
  for (const power of [-5, -4, -2, 0, 2].filter((power) => power <= high)) {
    const at = y(10 ** power);
    parts.push(line(`M${left} ${at} H${right}`, "#e4e4e4"));
    const text = power === -5 ? 0 : 10 ** power;
    parts.push(label(left - 5, at + 4, text, { textAnchor: "end", ...GREY_TEXT }));
  }
  const every = 8 * Math.ceil(last / 56); // so many loops from one number to the next
  for (let t = 0; t <= last; t += every)
    parts.push(label(x(Math.max(t, 1)), height + 22, Math.max(t, 1), GREY_TEXT));
  const tied = thoughts.every(({ model }) => model.config.tied);
  const axis = tied ? "loop" : "loop, or layer of the stack";
  parts.push(label((left + right) / 2, height + 38, axis, GREY_TEXT));
  parts.push(line(`M${x(Math.min(loops, last))} 6 V${height + 6}`, "#111", { strokeWidth: 0.8 }));
  parts.push(line(`M${left} ${y(threshold)} H${right}`, "#111", { strokeDasharray: "4 3" }));
  thoughts.forEach((thought, m) => {
    const style = { strokeWidth: 2, strokeDasharray: DASHES[m % 4] };
    const points = values[m].map((value, i) => `${x(i + 1).toFixed(1)} ${y(value).toFixed(1)}`);
    parts.push(line(`M${points.join(" L")}`, COLORS[m % 4], style));
    const { loop, early } = stop(thought, rule, threshold, loops);
    const ring = { cx: x(loop), cy: y(thought.after[loop][rule]), r: 4.5, fill: "#fff" };
    if (early) parts.push(tag("circle", { ...ring, stroke: COLORS[m % 4], strokeWidth: 2 }));
  });
  const what = `${rule} over loops, with a dashed threshold; rings where it stops`;
  return drawing(width, height + 44, what, parts);
}

// A map of right answers [hops][loops], from white to blue, and a frame around what was trained.
function drawMap(map, { hops, loops }, width) {
  const left = 56;
  const columns = map[0].length;
  const size = Math.min(34, (width - left - 2) / columns);
  const y = (hop) => (map.length - 1 - hop) * size + 1; // the hardest on top
  const parts = [];
  map.forEach((row, hop) => {
    parts.push(label(left - 6, y(hop) + size / 2 + 4, hop + 1, { textAnchor: "end" }));
    row.forEach((right, loop) => {
      const cell = { x: left + loop * size, y: y(hop), width: size - 1, height: size - 1 };
      parts.push(
        tag("rect", { ...cell, fill: BLUE, fillOpacity: (0.04 + 0.96 * right).toFixed(2) }),
      );
      const text = Math.round(100 * right);
      const style = { fill: text > 90 ? "#fff" : "#111", style: "font-size:11px" };
      if (size > 20) parts.push(label(cell.x + size / 2, y(hop) + size / 2 + 4, text, style));
    });
  });
  const bottom = map.length * size;
  for (let loop = 1; loop <= columns; loop += 2)
    parts.push(label(left + (loop - 0.5) * size, bottom + 16, loop, GREY_TEXT));
  parts.push(label(left + (columns * size) / 2, bottom + 34, "loops", GREY_TEXT));
  parts.push(tag("text", { x: 0, y: bottom / 2, ...GREY_TEXT }, "hops"));
  const [from, to] = loops;
  const frame = { x: left + (from - 1) * size, y: y(hops - 1), fill: "none", stroke: "#111" };
  const box = { width: (to - from + 1) * size - 1, height: hops * size, strokeWidth: 2 };
  parts.push(tag("rect", { ...frame, ...box }));
  const what = "per cent of right answers, for each number of hops and of loops";
  return drawing(left + columns * size + 2, bottom + 40, what, parts);
}

// Shares over training steps, a curve for each kind of question, and a line at the chosen step.
function drawTraining(steps, curves, chosen, width, axis = "share") {
  const left = 56;
  const height = 150;
  const names = Object.keys(curves);
  const right = width - 12;
  const last = steps.at(-1);
  const x = (step) => left + ((right - left) * step) / last;
  const y = (accuracy) => 8 + height * (1 - accuracy);
  const middle = `rotate(-90 14 ${y(0.5)})`;
  const parts = [label(14, y(0.5), axis, { transform: middle, ...GREY_TEXT })];
  for (const accuracy of [0, 0.5, 1]) {
    parts.push(line(`M${left} ${y(accuracy)} H${right}`, "#e4e4e4"));
    parts.push(label(left - 5, y(accuracy) + 4, accuracy, { textAnchor: "end", ...GREY_TEXT }));
  }
  for (const step of [0, Math.round(last / 2), last])
    parts.push(
      label(x(step), height + 26, `${step}${step ? "" : " steps"}`, {
        ...GREY_TEXT,
        textAnchor: step === last ? "end" : "middle",
      }),
    );
  names.forEach((name, i) => {
    const points = steps.map((step, k) => `${x(step).toFixed(1)} ${y(curves[name][k]).toFixed(1)}`);
    parts.push(
      line(`M${points.join(" L")}`, COLORS[i], { strokeWidth: 2.5, strokeDasharray: DASHES[i] }),
    );
  });
  parts.push(line(`M${x(steps[chosen])} 6 V${height + 8}`, "#111", { strokeWidth: 1.5 }));
  return drawing(width, height + 30, "accuracy over training steps", parts);
}
