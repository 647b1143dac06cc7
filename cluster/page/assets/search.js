// Searches, filters and sorts the rows of a table.

const MOST_OPTIONS = 60;
const NONE = "(none)";
const STATES = ["failed", "partial", "skipped", "cancelled", "open", "succeeded"];

// Returns a filter: the labels of each row in a column, and the most frequent labels.
function facetOf(table, column) {
  const counts = new Map();
  const codes = new Array(table.count);
  for (let row = 0; row < table.count; row += 1) {
    const value = table.at(column.place, row);
    const labels = Array.isArray(value) ? value.map(asText) : [value === null ? NONE : asText(value)];
    codes[row] = labels.length ? labels : [NONE];
    for (const label of codes[row]) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const values = [...counts.keys()];
  if (column.kind === "state") values.sort((one, other) => STATES.indexOf(one) - STATES.indexOf(other));
  else values.sort((one, other) => counts.get(other) - counts.get(one));
  return { ...column, codes, values: values.slice(0, MOST_OPTIONS) };
}

// Divides a search into words and comparisons with a column, such as score<0.3.
function queryOf(table, text) {
  const terms = text.split(/\s+/).filter(Boolean);
  const tests = terms.map((term) => comparison(table, term));
  const words = terms.filter((_, place) => !tests[place]).map((term) => term.toLowerCase());
  return { words, tests: tests.filter(Boolean) };
}

// Returns the place of the only filter that a row fails: -1 if it passes all, null if it fails several.
function failingFilter(facets, wanted, row) {
  let failing = -1;
  for (let place = 0; place < wanted.length; place += 1) {
    if (wanted[place] === null || facets[place].codes[row].includes(wanted[place])) continue;
    if (failing >= 0) return null;
    failing = place;
  }
  return failing;
}

// Returns the rows that match, and for each filter the counts of its labels among the rows that pass all others.
function matches(table, { words, tests }, facets, wanted) {
  const counts = facets.map(() => new Map());
  const found = [];
  for (let row = 0; row < table.count; row += 1) {
    if (words.length && !words.every((word) => table.texts[row].includes(word))) continue;
    if (!tests.every((test) => test(row))) continue;
    const failing = failingFilter(facets, wanted, row);
    if (failing === null) continue;
    if (failing < 0) found.push(row);
    for (let place = 0; place < facets.length; place += 1) {
      if (failing >= 0 && place !== failing) continue;
      for (const label of facets[place].codes[row]) counts[place].set(label, (counts[place].get(label) ?? 0) + 1);
    }
  }
  return { found, counts };
}

// Sorts rows by a column; without one, those that failed come first.
function sortedRows(table, rows, name, descending) {
  const place = table.place(name);
  if (place < 0) {
    const state = table.place("state");
    const ranks = new Map(rows.map((row) => [row, STATES.indexOf(table.at(state, row))]));
    return rows.sort((one, other) => ranks.get(one) - ranks.get(other) || one - other);
  }
  const { kind } = table.columns[place];
  const keys = new Map(rows.map((row) => [row, sortKey(kind, table.at(place, row))]));
  const sign = descending ? -1 : 1;
  return rows.sort((one, other) => {
    const [first, second] = [keys.get(one), keys.get(other)];
    if (first === second) return one - other;
    if (first === null) return 1; // rows without a value are last, in both directions
    if (second === null) return -1;
    return first < second ? -sign : sign;
  });
}

function sortKey(kind, value) {
  if (value === null || value === undefined || value === "") return null;
  if (kind === "task" || typeof value === "number") return value;
  if (kind === "state") return STATES.indexOf(value);
  return asText(value).toLowerCase();
}
