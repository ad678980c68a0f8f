"use strict";
// What can be watched in a model at work. The numbers of the page are computed here, with
// page_loop.js, and nothing is drawn.

// -------------------------------------------------------------------------------------------------
// A thought is a model at a question: `after` has what there is after 0, 1, 2, .. loops.

function newThought(model, question, world, task, start = null) {
  const tokens = task.tokens(question, world, model.setting);
  const truth = task.truth(tokens, world);
  const coming = states(model, tokens, start);
  return { model, tokens, truth, answers: task.answers(tokens), after: [], coming };
}

// Think on until there are so many loops, or all that a stack of layers has.
function thinkTo(thought, loops) {
  while (thought.after.length <= loops) {
    const { value: state, done } = thought.coming.next();
    if (done) return;
    thought.after.push(look(thought, state));
  }
}

// A state with what is read from it: the prediction at every token, and what the exit rules
// measure.
function look({ model, tokens, answers, after }, state) {
  const logits = readout(model, state.h);
  const V = logits.length / tokens.length;
  const rows = tokens.map((_, i) => logits.subarray(i * V, (i + 1) * V));
  const prediction = rows.map((row) => row.indexOf(Math.max(...row)));
  const found = { ...state, prediction, logP: rows.map(logSoftmax) };
  const before = after.at(-1);
  for (const rule in RULES) if (before) found[rule] = RULES[rule](before, found, answers);
  return found;
}

function isRight({ answers, after, truth }, t) {
  return answers.every((i) => after[t].prediction[i] === truth[i]);
}

// The loop after which a thought stops, at the latest after `most`; and whether the rule said so:
// {loop, early}
function stop({ after }, rule, threshold, most) {
  most = Math.min(most, after.length - 1);
  for (let t = 1; t <= most && rule !== "fixed"; t++)
    if (after[t][rule] < threshold) return { loop: t, early: true };
  return { loop: most, early: false };
}

// The state of one token, C numbers.
function stateOf({ model }, h, token) {
  return h.subarray(token * model.config.n_embd, (token + 1) * model.config.n_embd);
}

// -------------------------------------------------------------------------------------------------
// One loop, opened: the numbers of one token at each step, and what each of them resembles.

function openLoop(thought, t, token) {
  const { model } = thought;
  const steps = thought.after[t].seen.filter(({ step }) => step !== "looks");
  return steps.map(({ step, x }) => {
    const numbers = stateOf(thought, x, token);
    const p = softmax(head(model, numbers));
    const read = p.indexOf(Math.max(...p));
    return { step, numbers, read, p: p[read] };
  });
}

// Where the heads of a layer look in loop t: an array [head, who looks, at whom].
function looksOf({ after }, t, layer) {
  const all = after[t].seen.filter(({ step }) => step === "looks");
  return all.length ? all[Math.min(layer, all.length - 1)].x : null; // none before the first loop
}

// -------------------------------------------------------------------------------------------------
// Damage: write something else over the state of one token after loop t, and think on from there.
// The new state has the length of the old one.

function damage(thought, t, token, kind) {
  const { model, tokens, after } = thought;
  const most = after.length - 1;
  const h = after[t].h.slice();
  const old = stateOf(thought, h, token);
  const other =
    kind === "noise" ? randomNumbers(t + 1, old.length) : asGiven(model, second(thought, t, token));
  old.set(other.map((x) => (x * norm(old)) / norm(other)));
  thought.unhurt ??= after.map((each) => each.prediction);
  thought.hurt = { t, token };
  thought.walked = null; // its paths are others now
  thought.coming = states(model, tokens, h, t);
  const seen = after[t].seen;
  after.length = t;
  thinkTo(thought, most);
  after[t].seen = seen;
}

// What the model holds second most likely at a token: something that it could confuse.
function second({ after }, t, token) {
  const logP = [...after[t].logP[token]];
  logP[after[t].prediction[token]] = -Infinity;
  return logP.indexOf(Math.max(...logP));
}

// What a loop is told of a token that stands in a question.
function asGiven(model, token) {
  return begin(model, [token]).e;
}

// The loop from which on all predictions are again what they would have been; null: never.
function healedAfter({ after, unhurt, hurt }) {
  const same = (t) => after[t].prediction.every((token, i) => token === unhurt[t][i]);
  let t = after.length;
  while (t > hurt.t && same(t - 1)) t--;
  return t < after.length ? t : null;
}

// -------------------------------------------------------------------------------------------------
// A state as a path: where one token's state goes, loop by loop, from several starts.

// [{name, points: [C numbers, ..]}, ..]: the thought itself, and its question from other starts.
function paths(thought, token) {
  const { model, tokens, after } = thought;
  const length = after[0].h.length;
  const starts = { "from zeros": new Float64Array(length) };
  for (const seed of [1, 2]) starts[`from noise ${seed}`] = randomNumbers(seed, length);
  const found = [
    { name: "its own start", points: after.map(({ h }) => stateOf(thought, h, token)) },
  ];
  for (const [name, start] of Object.entries(starts)) {
    const points = [];
    for (const { h } of states(model, tokens, start)) {
      points.push(stateOf(thought, h, token));
      if (points.length === after.length) break;
    }
    found.push({ name, points });
  }
  return found;
}

// The two directions in which points differ most (PCA, by power iteration): the place of each point
// in their plane, and the share of all differences that the plane shows.
function plane(points) {
  const mean = points.reduce(add).map((x) => x / points.length);
  const moved = points.map((point) => point.map((x, c) => x - mean[c]));
  const spread = Array.from(mean, () => new Float64Array(mean.length)); // the covariances
  for (const x of moved)
    for (let c = 0; c < x.length; c++)
      for (let d = 0; d < x.length; d++) spread[c][d] += x[c] * x[d];
  const all = spread.reduce((sum, row, c) => sum + row[c], 0);
  let shown = 0;
  const axes = [0, 1].map(() => {
    let direction = spread.reduce((longest, row) => (norm(row) > norm(longest) ? row : longest));
    let size = 0; // how much of the spread lies along the direction
    for (let time = 0; time < 200; time++) {
      const next = Float64Array.from(spread, (row) => dot(row, direction));
      size = norm(next);
      direction = next.map((x) => x / (size || 1));
    }
    shown += size;
    for (let c = 0; c < mean.length; c++)
      for (let d = 0; d < mean.length; d++) spread[c][d] -= size * direction[c] * direction[d];
    return moved.map((x) => dot(x, direction));
  });
  const places = points.map((_, i) => axes.map((axis) => axis[i]));
  return { places, share: all ? shown / all : 1 };
}

// Numbers from a normal distribution, the same for the same seed (Box and Muller 1958).
function randomNumbers(seed, length) {
  const dice = uniform(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - dice())) * Math.cos(2 * Math.PI * dice());
  return Float64Array.from({ length }, normal);
}

// A function that gives another number from 0 to 1 at each call (mulberry32).
function uniform(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
