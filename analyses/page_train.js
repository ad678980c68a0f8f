"use strict";
// Training, written out by hand: what loss.backward() and an optimizer do in PyTorch. It is for the
// one kind of model that the page trains, with one layer in the loop, norm "post", injection "add"
// and position "window".
//
// The forward pass is page_loop.js, which shows each of its steps (`see`). The backward pass goes
// through the same steps from the last to the first. Each function y = f(x, W) has a twin here. It
// is given dy, how the loss changes with y; it returns dx, and adds dW to grads[W].

const WORLD = { entities: 8, relations: 2, hops: 4, width: 32, heads: 2, slack: 3 };

// The loss of one question, whose answer stands at its last token, and whether it is right. What
// the loss owes to each weight is added to grads.
function lossAndGradients(model, tokens, target, loops, grads) {
  const { weights, config } = model;
  const C = config.n_embd;
  const thought = [];
  for (const state of states(model, tokens)) {
    thought.push(state);
    if (thought.length > loops) break;
  }
  const { h } = thought.at(-1);
  const last = h.subarray(h.length - C);
  const logits = head(model, last);
  const logP = logSoftmax(logits);

  const back = { weights, grads };
  const dLogits = logP.map((x, token) => Math.exp(x) - (token === target));
  const read = rmsNorm(last, weights["norm.weight"]);
  const dRead = linearBack(back, "embed.weight", dLogits, read);
  let dh = new Float64Array(h.length);
  dh.set(rmsNormBack(back, "norm.weight", dRead, last), h.length - C);
  let de = dh.map(() => 0);
  for (const { seen } of thought.slice(1).reverse()) {
    dh = loopBack(model, back, dh, seen); // for h + e, so for the state before and for e alike
    de = add(de, dh);
  }
  de = add(de, dh); // the state before the first loop is e, too
  const dx = rmsNormBack(back, "prelude_norm.weight", de, embed(model, tokens));
  tokens.forEach((token, i) => {
    for (let c = 0; c < C; c++) grads["embed.weight"][token * C + c] += dx[i * C + c];
  });
  return { loss: -logP[target], right: logits.indexOf(Math.max(...logits)) === target };
}

// -------------------------------------------------------------------------------------------------
// One loop, backwards

function loopBack(model, back, dy, seen) {
  const at = Object.fromEntries(seen.map(({ step, x }) => [step, x]));
  const both = at["both together"];
  const middle = at["after attention"];
  const layer = "core.0";
  const sum = add(middle, at["the MLP says"]);
  const dSum = rmsNormBack(back, `${layer}.after_mlp.weight`, dy, sum);
  const dMiddle = add(dSum, mlpBack(model, back, layer, dSum, middle));
  const first = add(both, at["attention finds"]);
  const dFirst = rmsNormBack(back, `${layer}.after_attention.weight`, dMiddle, first);
  return add(dFirst, attendBack(model, back, layer, dFirst, both, at.looks));
}

function mlpBack({ config }, back, layer, dy, x) {
  const wide = linear(x, back.weights[`${layer}.mlp.0.weight`], config.n_embd);
  const dBent = linearBack(back, `${layer}.mlp.2.weight`, dy, wide.map(gelu));
  return linearBack(
    back,
    `${layer}.mlp.0.weight`,
    dBent.map((d, i) => d * slope(wide[i])),
    x,
  );
}

function attendBack({ config }, back, layer, dOut, x, looks) {
  const { n_embd: C, n_head: H, reach } = config;
  const D = C / H;
  const T = x.length / C;
  const qkv = linear(x, back.weights[`${layer}.attention.qkv.weight`], C);
  const part = (array, row, kind, h) =>
    array.subarray(row * 3 * C + kind * C + h * D, row * 3 * C + kind * C + (h + 1) * D);
  const y = new Float64Array(T * C); // what the heads found, before the last matrix
  const each = (use) => {
    for (let h = 0; h < H; h++)
      for (let i = 0; i < T; i++)
        for (let j = Math.max(0, i - reach + 1); j <= i; j++) use(h, i, j, (h * T + i) * T + j);
  };
  each((h, i, j, pair) => {
    const v = part(qkv, j, 2, h);
    for (let d = 0; d < D; d++) y[i * C + h * D + d] += looks[pair] * v[d];
  });
  const dy = linearBack(back, `${layer}.attention.out.weight`, dOut, y);
  const dQkv = new Float64Array(qkv.length);
  const dLooks = new Float64Array(looks.length);
  const mean = new Float64Array(H * T); // of dLooks, for each head and token
  each((h, i, j, pair) => {
    const dFound = dy.subarray(i * C + h * D, i * C + (h + 1) * D);
    const dv = part(dQkv, j, 2, h);
    for (let d = 0; d < D; d++) dv[d] += looks[pair] * dFound[d];
    dLooks[pair] = dot(part(qkv, j, 2, h), dFound);
    mean[h * T + i] += looks[pair] * dLooks[pair];
  });
  each((h, i, j, pair) => {
    const dScore = looks[pair] * (dLooks[pair] - mean[h * T + i]); // through the softmax
    back.grads["positions.bias"][h * reach + i - j] += dScore;
    const q = part(qkv, i, 0, h);
    const k = part(qkv, j, 1, h);
    const dq = part(dQkv, i, 0, h);
    const dk = part(dQkv, j, 1, h);
    for (let d = 0; d < D; d++) {
      dq[d] += (dScore * k[d]) / Math.sqrt(D);
      dk[d] += (dScore * q[d]) / Math.sqrt(D);
    }
  });
  return linearBack(back, `${layer}.attention.qkv.weight`, dQkv, x);
}

// -------------------------------------------------------------------------------------------------
// Small parts, backwards

// y = W x for each row: dx = W^T dy, and dW = dy x^T.
function linearBack({ weights, grads }, name, dy, x) {
  const W = weights[name];
  const dW = grads[name];
  const inputs = Math.sqrt((W.length * x.length) / dy.length);
  const outputs = W.length / inputs;
  const dx = new Float64Array(x.length);
  for (let row = 0; row < x.length / inputs; row++)
    for (let o = 0; o < outputs; o++) {
      const d = dy[row * outputs + o];
      for (let i = 0; i < inputs; i++) {
        dx[row * inputs + i] += d * W[o * inputs + i];
        dW[o * inputs + i] += d * x[row * inputs + i];
      }
    }
  return dx;
}

function rmsNormBack({ weights, grads }, name, dy, x) {
  const gain = weights[name];
  const C = gain.length;
  const dx = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += C) {
    let square = 0;
    let along = 0;
    for (let c = 0; c < C; c++) square += x[row + c] ** 2;
    const scale = 1 / Math.sqrt(square / C + 2 ** -23);
    for (let c = 0; c < C; c++) {
      grads[name][c] += dy[row + c] * x[row + c] * scale;
      along += dy[row + c] * gain[c] * x[row + c];
    }
    for (let c = 0; c < C; c++)
      dx[row + c] = scale * (dy[row + c] * gain[c] - (x[row + c] * scale ** 2 * along) / C);
  }
  return dx;
}

// The slope of gelu: the share of a normal distribution below x, and x times its density.
function slope(x) {
  const below = x === 0 ? 0.5 : gelu(x) / x;
  return below + (x * Math.exp(-(x ** 2) / 2)) / Math.sqrt(2 * Math.PI);
}

// -------------------------------------------------------------------------------------------------
// The training: a small world of multihop, a curriculum of hops, and Adam

// Yields {step, loss, right, level, map} after each step. `right` is a share of the batch. `map` is
// measured at every 25th step: how often the model is right [hops][loops].
function* training(seed, steps, batch = 32) {
  const dice = uniform(seed);
  const below = (n) => Math.floor(dice() * n);
  const { entities, relations, hops: most, slack } = WORLD;
  const facts = Array.from({ length: relations }, () => shuffled(entities, below));
  const model = newModel(seed);
  const optimizer = newAdam(model.weights);
  const recent = Array(most + 1).fill(0); // how often each number of hops was right lately
  let level = 1; // the most hops that are asked so far
  const ask = (hops) => {
    const tokens = [below(entities)];
    let place = tokens[0];
    for (let hop = 0; hop < hops; hop++) {
      const relation = below(relations);
      tokens.push(entities + relation);
      place = facts[relation][place];
    }
    return { tokens, target: place };
  };
  for (let step = 1; step <= steps; step++) {
    const hops = below(3) ? 1 + below(level) : level;
    const loops = level + 1 + below(slack);
    const grads = likeWeights(model.weights);
    let loss = 0;
    let right = 0;
    for (let question = 0; question < batch; question++) {
      const { tokens, target } = ask(hops);
      const found = lossAndGradients(model, tokens, target, loops, grads);
      loss += found.loss / batch;
      right += found.right / batch;
    }
    const decay = Math.min(1, 2.05 - (2 * step) / steps); // from the middle on, down to a twentieth
    for (const name in grads) grads[name] = grads[name].map((g) => g / batch);
    optimizer(grads, 0.003 * Math.min(1, step / 50) * decay);
    recent[hops] = 0.8 * recent[hops] + 0.2 * right;
    if (level < most && recent[level] > 0.85) level++;
    const map = step % 25 === 0 || step === steps ? measureMap(model, ask) : null;
    yield { step, loss, right, level, map };
  }
}

function newModel(seed) {
  const { entities, relations, width: C, heads, hops } = WORLD;
  const config = {
    n_embd: C,
    n_head: heads,
    n_prelude: 0,
    n_core: 1,
    n_coda: 0,
    tied: true,
    injection: "add",
    norm: "post",
    position: "window",
    reach: 3,
    state_init: "embed",
    causal: true,
    loops: 2 * hops,
  };
  const drawn = (length, size) => randomNumbers(seed++, length).map((x) => x * size);
  const ones = () => new Float64Array(C).fill(1);
  const weights = {
    "embed.weight": drawn((entities + relations) * C, 0.02),
    "positions.bias": new Float64Array(heads * config.reach),
    "prelude_norm.weight": ones(),
    "core.0.attention.qkv.weight": drawn(3 * C * C, C ** -0.5),
    "core.0.attention.out.weight": drawn(C * C, C ** -0.5),
    "core.0.mlp.0.weight": drawn(4 * C * C, C ** -0.5),
    "core.0.mlp.2.weight": drawn(4 * C * C, (4 * C) ** -0.5),
    "core.0.after_attention.weight": ones(),
    "core.0.after_mlp.weight": ones(),
    "norm.weight": ones(),
  };
  return { config, weights };
}

// The share of right answers [hops][loops], with hops and loops from 1 on.
function measureMap(model, ask, questions = 24) {
  const { hops: top } = WORLD;
  return Array.from({ length: 2 * top }, (_, hop) => {
    const right = Array(3 * top).fill(0);
    for (let question = 0; question < questions; question++) {
      const { tokens, target } = ask(hop + 1);
      let loop = -1;
      for (const { h } of states(model, tokens)) {
        if (loop >= 0) {
          const logits = head(model, h.subarray(h.length - model.config.n_embd));
          right[loop] += (logits.indexOf(Math.max(...logits)) === target) / questions;
        }
        if (++loop === right.length) break;
      }
    }
    return right;
  });
}

// Adam (Kingma and Ba 2015): each weight takes a step by the mean of its gradients, divided by
// their usual size. If all gradients together are longer than 1, they are scaled down to 1.
function newAdam(weights) {
  const means = likeWeights(weights);
  const squares = likeWeights(weights);
  let step = 0;
  return (grads, rate) => {
    step++;
    const length = Math.sqrt(Object.values(grads).reduce((sum, g) => sum + dot(g, g), 0));
    const scale = Math.min(1, 1 / length);
    for (const name in weights)
      for (let i = 0; i < weights[name].length; i++) {
        const g = grads[name][i] * scale;
        means[name][i] = 0.9 * means[name][i] + 0.1 * g;
        squares[name][i] = 0.99 * squares[name][i] + 0.01 * g ** 2;
        const mean = means[name][i] / (1 - 0.9 ** step);
        const size = Math.sqrt(squares[name][i] / (1 - 0.99 ** step));
        weights[name][i] -= (rate * mean) / (size + 1e-8);
      }
  };
}

function likeWeights(weights) {
  const zeros = Object.entries(weights).map(([name, W]) => [name, new Float64Array(W.length)]);
  return Object.fromEntries(zeros);
}

function shuffled(n, below) {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
