"use strict";
// looped.py in JavaScript: the loop first, then its parts. This is all that runs the model. A
// reader of looped.py will find the same names here; another reader can begin here.
//
// A question is a list of T tokens (small whole numbers). A state h has C numbers for each of them
// and is kept as one array of T * C numbers, row after row. model.config has the settings of the
// run, and model.weights has every trained parameter under the name that PyTorch gave it, a matrix
// row after row. The logits are those of PyTorch to 0.0001 (tests/analyses/test_page.py), except
// where a model's loop is chaotic, so that any rounding grows.

// -------------------------------------------------------------------------------------------------
// The loop

// Yields the state h before the first loop and after each, with what was seen inside that loop:
// seen = [{step, x}, ..]. It may start from another state than its own, and at a later loop t.
function* states(model, tokens, start = null, t = 0) {
  const { config } = model;
  let { h, e, positions } = begin(model, tokens);
  h = start ?? h;
  yield { h, seen: [] };
  const last = config.tied ? Infinity : config.loops; // a stack of different layers has an end
  for (; t < last; t++) {
    const seen = [];
    h = loop(model, h, e, t, positions, (step, x) => seen.push({ step, x }));
    yield { h, seen };
  }
}

// The initial state h, the question e, and what attention is told of positions.
function begin(model, tokens) {
  const { config, weights } = model;
  const positions = positionsOf(model, tokens.length);
  const x = runLayers(model, "prelude", 0, config.n_prelude, embed(model, tokens), positions);
  const e = rmsNorm(x, weights["prelude_norm.weight"]);
  const h = config.state_init === "zeros" ? e.map(() => 0) : e;
  return { h, e, positions };
}

// One loop, t = 0, 1, ..: the question enters again, and the same layers run again. `see` is told
// of every step inside.
function loop(model, h, e, t, positions, see) {
  const { config } = model;
  see("the state before", h);
  see("the question", e);
  h = inject(model, h, e);
  see("both together", h);
  const first = config.tied ? 0 : t * config.n_core; // the only thing that t is good for
  h = runLayers(model, "core", first, first + config.n_core, h, positions, see);
  if (!config.reembed) return h;
  h = reembed(model, h);
  see("the prediction added", h);
  return h;
}

function runLayers(model, part, from, to, x, positions, see = () => {}) {
  for (let i = from; i < to; i++) x = block(model, `${part}.${i}`, x, positions, see);
  return x;
}

// What would the answer be by now? Logits, vocab_size numbers for each token.
function readout(model, h) {
  const T = h.length / model.config.n_embd;
  return head(model, runLayers(model, "coda", 0, model.config.n_coda, h, positionsOf(model, T)));
}

// A state is read by what embedding it resembles.
function head(model, h) {
  return linear(
    rmsNorm(h, model.weights["norm.weight"]),
    model.weights["embed.weight"],
    model.config.n_embd,
  );
}

// How the question e enters the state h at every loop.
function inject({ config, weights }, h, e) {
  const C = config.n_embd;
  if (config.injection === "none") return h;
  if (config.injection === "add") return add(h, e);
  const both = new Float64Array(2 * h.length); // "concat": in each row C numbers of h, then C of e
  for (let row = 0; row < h.length; row += C) {
    both.set(h.subarray(row, row + C), 2 * row);
    both.set(e.subarray(row, row + C), 2 * row + C);
  }
  return linear(both, weights["inject.weight"], 2 * C);
}

// The loop ends by adding what it predicts so far: the expected embedding, each of length sqrt(C).
function reembed(model, h) {
  const { config, weights } = model;
  const C = config.n_embd;
  const embedding = weights["embed.weight"];
  const gate = weights["reembed_gate"];
  const logits = head(model, h);
  const V = embedding.length / C;
  const sum = h.slice();
  const length = Array.from({ length: V }, (_, token) =>
    norm(embedding.subarray(token * C, (token + 1) * C)),
  );
  for (let row = 0; row < h.length / C; row++) {
    const p = softmax(logits.subarray(row * V, (row + 1) * V));
    for (let token = 0; token < V; token++) {
      const scale = (p[token] * Math.sqrt(C)) / length[token];
      for (let c = 0; c < C; c++) sum[row * C + c] += gate[c] * scale * embedding[token * C + c];
    }
  }
  return sum;
}

// -------------------------------------------------------------------------------------------------
// When to stop: each rule measures a loop, and the first loop in which it measures less than a
// threshold is the last. `answers` are the places (0..T-1) where an answer is asked.

const RULES = {
  // How far the loop moved the state: |h_t - h_(t-1)| / |h_t|.
  settle: (before, now) => norm(now.h.map((x, i) => x - before.h[i])) / norm(now.h),
  // How far it moved the prediction: KL(p_t, p_(t-1)) in nats, the largest at an answer.
  kl: (before, now, answers) =>
    Math.max(...answers.map((i) => expected(now.logP[i], (logP, k) => logP - before.logP[i][k]))),
  // How undecided the prediction is: its entropy in nats, the largest at an answer.
  entropy: (before, now, answers) =>
    Math.max(...answers.map((i) => expected(now.logP[i], (logP) => -logP))),
};

// The mean of f over what is predicted, given log-probabilities.
function expected(logP, f) {
  return logP.reduce((sum, x, k) => sum + Math.exp(x) * f(x, k), 0);
}

// -------------------------------------------------------------------------------------------------
// The block: attention and an MLP, as in any GPT

function block(model, name, x, positions, see) {
  const { config, weights } = model;
  const maybeNorm = (norm, x) => {
    const gain = weights[`${name}.${norm}.weight`]; // pre, post and sandwich have not all of them
    return gain ? rmsNorm(x, gain) : x;
  };
  const found = attend(model, name, maybeNorm("before_attention", x), positions, see);
  see("attention finds", found);
  x = maybeNorm("after_attention", add(x, found));
  see("after attention", x);
  const said = mlp(model, name, maybeNorm("before_mlp", x));
  see("the MLP says", said);
  x = maybeNorm("after_mlp", add(x, said));
  see("after the MLP", x);
  return x;
}

// Every token by itself: C numbers become 4C, and C again.
function mlp({ config, weights }, name, x) {
  const wide = linear(x, weights[`${name}.mlp.0.weight`], config.n_embd).map(gelu);
  return linear(wide, weights[`${name}.mlp.2.weight`], 4 * config.n_embd);
}

// Every token mixes in what it finds at others. Each head has D channels and weights of its own.
function attend({ config, weights }, name, x, positions, see) {
  const C = config.n_embd;
  const H = config.n_head;
  const D = C / H;
  const T = x.length / C;
  // rows of 3C: queries, keys, values
  const qkv = linear(x, weights[`${name}.attention.qkv.weight`], C);
  const looks = new Float64Array(H * T * T); // [head, who looks, at whom]
  const y = new Float64Array(T * C);
  for (let h = 0; h < H; h++) {
    const part = (row, kind) =>
      qkv.subarray(row * 3 * C + kind * C + h * D, row * 3 * C + kind * C + (h + 1) * D);
    const rows = Array.from({ length: T }, (_, i) => i);
    const q = rows.map((i) => rotate(part(i, 0), positions.angles, i));
    const k = rows.map((j) => rotate(part(j, 1), positions.angles, j));
    const v = rows.map((j) => part(j, 2));
    for (let i = 0; i < T; i++) {
      const seen = config.causal ? i + 1 : T; // causal: nobody sees what comes later
      const scores = new Float64Array(seen);
      for (let j = 0; j < seen; j++)
        scores[j] = dot(q[i], k[j]) / Math.sqrt(D) + positions.bias(h, i, j);
      const p = softmax(scores);
      looks.set(p, (h * T + i) * T);
      for (let j = 0; j < seen; j++)
        for (let d = 0; d < D; d++) y[i * C + h * D + d] += p[j] * v[j][d];
    }
  }
  see("looks", looks);
  return linear(y, weights[`${name}.attention.out.weight`], C);
}

// What attention is told of positions: a bias for (head, who looks, at whom), and angles for rotary
// positions.
function positionsOf({ config, weights }, T) {
  const { position: kind, reach, n_head: H, n_embd: C, coordinates } = config;
  const learned = weights["positions.bias"];
  if (kind === "alibi")
    return { bias: (h, i, j) => -(2 ** ((-8 * (h + 1)) / H)) * Math.abs(i - j) };
  if (kind === "relative" || kind === "window") {
    const width = learned.length / H; // how many biases a head has
    const ahead = width - reach; // so many of them are for later tokens; 0 in a causal model
    const bias = (h, i, j) => {
      if (kind === "window" && Math.abs(i - j) >= reach) return -Infinity;
      const distance = Math.min(Math.max(i - j, -ahead), reach - 1); // how far behind i stands j
      return learned[h * width + distance + ahead];
    };
    return { bias };
  }
  if (kind === "grid") {
    // boards: do two cells share their row, their column, their box? The three answers make a
    // number, 0..7.
    const ways = learned.length / H;
    const shared = (i, j) =>
      coordinates[i].reduce((sum, x, axis) => sum + (x === coordinates[j][axis]) * 2 ** axis, 0);
    const table = coordinates.map((_, i) => coordinates.map((_, j) => shared(i, j)));
    return { bias: (h, i, j) => learned[h * ways + table[i][j]] };
  }
  const D = C / H;
  const angles = Array.from({ length: D / 2 }, (_, i) => 10000 ** ((-2 * i) / D)); // of one step
  return { bias: () => 0, angles: kind === "rope" ? angles : null };
}

// Rotary positions: turn the channels (i, i + D/2) by the angle of their position.
function rotate(x, angles, position) {
  if (!angles) return x;
  const half = angles.length;
  const y = x.slice();
  for (let i = 0; i < half; i++) {
    const cos = Math.cos(position * angles[i]);
    const sin = Math.sin(position * angles[i]);
    y[i] = x[i] * cos - x[i + half] * sin;
    y[i + half] = x[i + half] * cos + x[i] * sin;
  }
  return y;
}

// -------------------------------------------------------------------------------------------------
// Small parts

function embed({ config, weights }, tokens) {
  const C = config.n_embd;
  const embedding = weights["embed.weight"];
  const source = weights["embed.source.weight"];
  const x = new Float64Array(tokens.length * C);
  const row = (token) => embedding.subarray(token * C, (token + 1) * C);
  // the tokens of more_tasks/chains.py: N names, and N + 1 + aN + b for an edge from a to b
  const N = embedding.length / C - 1;
  tokens.forEach((token, i) => {
    const a = Math.floor((token - N - 1) / N);
    const b = (token - N - 1) % N;
    x.set(source && token > N ? add(row(b), linear(row(a), source, C)) : row(token), i * C);
  });
  return x;
}

// W x for each row x, a row of W for each output. Four outputs (p, q, r, s) at a time share what is
// read of x, which takes a quarter less time; if fewer are left, the last one is computed again.
function linear(x, W, inputs) {
  const rows = x.length / inputs;
  const outputs = W.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let row = 0; row < rows; row++) {
    for (let p = 0; p < outputs; p += 4) {
      const q = Math.min(p + 1, outputs - 1);
      const r = Math.min(p + 2, outputs - 1);
      const s = Math.min(p + 3, outputs - 1);
      let sumP = 0;
      let sumQ = 0;
      let sumR = 0;
      let sumS = 0;
      for (let i = 0; i < inputs; i++) {
        const value = x[row * inputs + i];
        sumP += value * W[p * inputs + i];
        sumQ += value * W[q * inputs + i];
        sumR += value * W[r * inputs + i];
        sumS += value * W[s * inputs + i];
      }
      y[row * outputs + p] = sumP;
      y[row * outputs + q] = sumQ;
      y[row * outputs + r] = sumR;
      y[row * outputs + s] = sumS;
    }
  }
  return y;
}

// Every row, scaled to a mean square of one, times a gain for each channel.
function rmsNorm(x, gain) {
  const C = gain.length;
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += C) {
    let square = 0;
    for (let c = 0; c < C; c++) square += x[row + c] ** 2;
    const scale = 1 / Math.sqrt(square / C + 2 ** -23);
    for (let c = 0; c < C; c++) y[row + c] = x[row + c] * scale * gain[c];
  }
  return y;
}

// x times the share of a normal distribution below x. The share is that of Abramowitz and Stegun
// 7.1.26, right to 1e-7.
function gelu(x) {
  const z = Math.abs(x) * Math.SQRT1_2;
  const t = 1 / (1 + 0.3275911 * z);
  const tail =
    t *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const above = 0.5 * tail * Math.exp(-z * z); // the share that is further out than |x|
  return x * (x > 0 ? 1 - above : above);
}

function softmax(scores) {
  return logSoftmax(scores).map(Math.exp);
}

function logSoftmax(scores) {
  let most = -Infinity;
  let total = 0;
  for (const score of scores) most = Math.max(most, score);
  for (const score of scores) total += Math.exp(score - most);
  return scores.map((score) => score - most - Math.log(total));
}

function dot(x, y) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}

function norm(x) {
  return Math.sqrt(dot(x, x));
}

function add(x, y) {
  const sum = x.slice();
  for (let i = 0; i < x.length; i++) sum[i] += y[i];
  return sum;
}
