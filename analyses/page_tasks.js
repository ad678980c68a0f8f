"use strict";
// The tasks, as far as a page needs them: how a person writes a question, its tokens, and what a
// perfect thinker has in mind at each token (null where that has no meaning). `explain` is what the
// answer should be: a text, or a walk of places and relations in turns. tasks.py and
// more_tasks/chains.py say what the tasks are. `world` is what the runs share (the facts, the size
// of a board), and `setting` what one run may have of its own (its pause). A text that cannot be
// read is an Error with a sentence for the person.

const WORD = (text) => (text.length > 12 ? `${text.slice(0, 12)}..` : text);

const TASKS = {
  // "c r2 r0": from c along r2, from there along r0: where are you?
  multihop: {
    about:
      "Start at a place and follow roads: where do you end? " +
      "The facts are only in the weights.",
    most: 60, // roads
    read(text, { names, entities, relations }) {
      const [start, ...hops] = text
        .toLowerCase()
        .split(/[^a-z0-9]+/)
        .filter(Boolean);
      const places = `a place (${names[0]} to ${names[entities - 1]})`;
      const roads = `roads (r0 to r${relations - 1})`;
      const example = `“${names[0]} r0 r${Math.min(2, relations - 1)}”`;
      const how = `Type ${places} and then ${roads}, for example ${example}.`;
      const tokens = [start, ...hops].map((word) => names.indexOf(word ?? ""));
      tokens.forEach((token, i) => {
        const word = [start, ...hops][i];
        if (i === 0 && !(token >= 0 && token < entities))
          throw Error(start ? `“${WORD(start)}” is not a place. ${how}` : how);
        if (i > 0 && !(token >= entities && token < entities + relations))
          throw Error(`“${WORD(word)}” is not a road. ${how}`);
      });
      if (!hops.length) throw Error(how);
      if (hops.length > this.most)
        throw Error(`These are ${hops.length} roads. The page takes at most ${this.most}.`);
      return tokens;
    },
    write: (question, { names }) => question.map((token) => names[token]).join(" "),
    tokens: (question, { entities, relations }, { pause }) => [
      ...question,
      ...Array(pause).fill(entities + relations),
    ],
    truth(tokens, { entities, relations, facts }) {
      let place = tokens[0];
      return tokens.map((token, i) => {
        const isRelation = i > 0 && token < entities + relations; // a pause leads nowhere
        if (isRelation) place = facts[token - entities][place];
        return i > 0 ? place : null;
      });
    },
    answers: (tokens) => [tokens.length - 1],
    say: (prediction, { names }) => names[prediction.at(-1)],
    explain(question, world) {
      const places = this.truth(question, world);
      const name = (token) => world.names[token];
      return question.flatMap((token, i) => (i ? [name(token), name(places[i])] : [name(token)]));
    },
  },

  // "36+47": digits in pairs, the lowest first; the digits of the sum are read behind each pair.
  addition: {
    about:
      "Add two numbers, all digits at once. The lowest digits stand left; " +
      "the loop has to move the carry.",
    most: 30, // digits
    read(text) {
      const [a, b, ...rest] = text.split("+").map((part) => part.trim());
      for (const number of [a, b])
        if (!/^[0-9]+$/.test(number ?? "") || rest.length)
          throw Error("Type two whole numbers, for example 36 + 47.");
      if (Math.max(a.length, b.length) > this.most)
        throw Error(`A number may have at most ${this.most} digits.`);
      return [a, b];
    },
    write: ([a, b]) => `${a}+${b}`,
    tokens([a, b], world, { digits }) {
      const n = Math.max(digits, a.length, b.length);
      const tokens = [11]; // ">", then the pairs, then "="
      for (let place = 1; place <= n; place++)
        tokens.push(+(a.at(-place) ?? 0), +(b.at(-place) ?? 0));
      return [...tokens, 10];
    },
    truth(tokens) {
      let carry = 0;
      return tokens.map((token, i) => {
        if (token === 10) return carry;
        if (i === 0 || i % 2) return null;
        const sum = tokens[i - 1] + token + carry;
        carry = Math.floor(sum / 10);
        return sum % 10;
      });
    },
    answers: (tokens) =>
      tokens.map((_, i) => i).filter((i) => i > 0 && (i % 2 === 0 || tokens[i] === 10)),
    say: (prediction, { names }, answers) =>
      answers
        .map((i) => names[prediction[i]])
        .reverse()
        .join("")
        .replace(/^0+(?=.)/, ""),
    explain: ([a, b]) => [`${BigInt(a)} + ${BigInt(b)} = ${BigInt(a) + BigInt(b)}`],
  },

  // A board, row by row, 0 for a blank.
  sudoku: {
    about:
      "Complete the board: each row, column and box holds each digit once. " +
      "The model sees the board, no rules.",
    read(text, { coordinates, n }) {
      const cells = [...text.replace(/[\s|+-]/g, "")].map((c) => ("._*?".includes(c) ? 0 : +c));
      if (cells.length !== coordinates.length || !cells.every((digit) => digit >= 0 && digit <= n))
        throw Error(
          `Type a board of ${coordinates.length} cells: digits 1 to ${n}, and . for a blank.`,
        );
      if (cells.every(Boolean)) throw Error("No cell is blank, so nothing is asked.");
      return cells;
    },
    write: (question) => question.map((digit) => digit || ".").join(""),
    tokens: (question) => question,
    truth(tokens, world) {
      const found = completions(tokens, world);
      return found.length === 1 ? found[0] : tokens.map((digit) => digit || null);
    },
    answers: (tokens) => tokens.map((_, i) => i).filter((i) => tokens[i] === 0),
    say: () => "",
    explain(question, world) {
      const number = completions(question, world).length;
      return [`This board has ${["no solution", "one solution", "several solutions"][number]}.`];
    },
  },

  // "f>k b>f q>z k>d ? b": facts in any order, then the node from which to walk.
  chains: {
    about:
      "Walk along the edges to the end of the chain. " +
      "The facts stand in the question, in any order.",
    read(text, { names }) {
      const words = text
        .toLowerCase()
        .split(/[\s,]+/)
        .filter(Boolean);
      const asked = words.indexOf("?");
      const N = names.length - 1;
      const name = (word) => {
        const token = names.slice(0, N).indexOf(word ?? "");
        const known = `The names are ${names[0]} to ${names[N - 1]}.`;
        if (token < 0) throw Error(`“${WORD(word ?? "")}” is not a name. ${known}`);
        return token;
      };
      if (asked < 1 || asked !== words.length - 2)
        throw Error("Type edges, “?” and a node, for example “1>2 2>3 ? 1”.");
      const edges = words.slice(0, asked).map((word) => word.split(">").map(name));
      if (edges.some((edge) => edge.length !== 2))
        throw Error("An edge has two ends, for example “1>2”.");
      if (new Set(edges.map(([a]) => a)).size < edges.length)
        throw Error("Two edges begin at the same node.");
      if (edges.length > 90) throw Error("The page takes at most 90 edges.");
      return [...edges.map(([a, b]) => N + 1 + a * N + b), N, name(words.at(-1))];
    },
    write: (question, world) => question.map((token) => nameOf(token, world)).join(" "),
    tokens: (question) => question,
    truth(tokens, { names }) {
      const N = names.length - 1;
      const leads = new Map();
      const edge = (token) => [Math.floor((token - N - 1) / N), (token - N - 1) % N];
      for (const token of tokens) if (token > N) leads.set(...edge(token));
      const end = (place) => {
        for (let step = 0; leads.has(place) && step < leads.size; step++) place = leads.get(place);
        return place;
      };
      return tokens.map((token) => (token === N ? null : end(token > N ? edge(token)[1] : token)));
    },
    answers: (tokens) => [tokens.length - 1],
    say: (prediction, { names }) => names[prediction.at(-1)],
    explain(question, world) {
      return [`The chain ends at ${world.names[this.truth(question, world).at(-1)]}.`];
    },
    // Chain by chain, each from its end to its beginning, whatever the order in the text.
    order(tokens, world) {
      const N = world.names.length - 1;
      const from = new Map(tokens.map((token, i) => [(token - N - 1) % N, i]).slice(0, -2));
      const begins = new Set(tokens.slice(0, -2).map((token) => Math.floor((token - N - 1) / N)));
      const order = [];
      for (const [end] of from)
        for (
          let i = begins.has(end) ? undefined : from.get(end);
          i !== undefined && !order.includes(i);
        )
          (order.push(i), (i = from.get(Math.floor((tokens[i] - N - 1) / N))));
      return [...order, ...tokens.map((_, i) => i).filter((i) => !order.includes(i))];
    },
  },
};

function nameOf(token, { names }) {
  const N = names.length - 1;
  return token <= N
    ? names[token]
    : `${names[Math.floor((token - N - 1) / N)]}>${names[(token - N - 1) % N]}`;
}

// The ways to complete a board, two at most: the blank that the fewest digits fit is tried first.
function completions(board, { coordinates, n }) {
  const meet = (i, j) => i !== j && coordinates[i].some((x, axis) => x === coordinates[j][axis]);
  const others = board.map((_, i) => board.map((_, j) => j).filter((j) => meet(i, j)));
  const cells = [...board];
  const found = [];
  if (cells.some((digit, i) => digit && others[i].some((j) => cells[j] === digit))) return [];
  const search = () => {
    let best = null;
    for (let i = 0; i < cells.length; i++) {
      if (cells[i]) continue;
      const taken = new Set(others[i].map((j) => cells[j]));
      const fits = [];
      for (let digit = 1; digit <= n; digit++) if (!taken.has(digit)) fits.push(digit);
      if (!best || fits.length < best.fits.length) best = { i, fits };
    }
    if (!best) return void found.push([...cells]);
    for (const digit of best.fits) {
      cells[best.i] = digit;
      search();
      cells[best.i] = 0;
      if (found.length === 2) return;
    }
  };
  search();
  return found;
}
