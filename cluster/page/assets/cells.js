// The cells of tables: links, states, scores, marked texts; and terms that compare a column with a value.

const CELL_CHARACTERS = 240;
const RIGHT = new Set(["number", "integer", "money", "seconds"]);
const COMPARISON = /^(.+?)(<=|>=|<|>|=)(.+)$/;
const COMPARED = {
  "<": (one, other) => one < other,
  "<=": (one, other) => one <= other,
  ">": (one, other) => one > other,
  ">=": (one, other) => one >= other,
  "=": (one, other) => one === other,
};

// Returns a test of a row for a term such as score<0.3 or label=good, null if the term is a word.
function comparison(table, term) {
  const [, name, operator, given] = COMPARISON.exec(term) ?? [];
  const place = name === undefined ? -1 : table.place(name);
  if (place < 0) return null;
  const asNumber = Number(given);
  const wanted = Number.isNaN(asNumber) ? given.toLowerCase() : asNumber;
  return (row) => {
    const value = table.at(place, row);
    if (value === null || value === undefined) return false;
    const known = typeof wanted === "number" ? Number(value) : asText(value).toLowerCase();
    return COMPARED[operator](known, wanted);
  };
}

function stateOf(state) {
  return element("span", { class: `state ${visible(state)}` }, state === "open" ? "not ended" : visible(state));
}

// A short name stays on one line.
function nameClass(name) {
  return String(name).length < 32 ? "name" : null;
}

function taskLink(report, task, label) {
  const key = report.keyOf(task);
  return element("a", { class: nameClass(key), href: `#/task/${encoded(key)}` }, label ?? visible(key));
}

function itemLink(report, task, item, label) {
  const address = `#/item/${encoded(report.keyOf(task))}/${encoded(item)}`;
  return element("a", { class: nameClass(item), href: address }, label ?? visible(item));
}

// A lone surrogate cannot be in an address; such a key opens by its place instead.
function encoded(text) {
  try {
    return encodeURIComponent(text);
  } catch {
    return encodeURIComponent(String(text).replace(/\p{Surrogate}/gu, "\ufffd"));
  }
}

// Draws a score with its interval.
function scoreCell(table, column, row, value) {
  const [low, high] = ["low", "high"].map((end) => table.get(`${column.name}.${end}`, row));
  return intervalBar(value, low, high, [column.low, column.high]);
}

function textCell(text, words) {
  const size = text.length > 40 ? "long" : text.length > 24 ? "" : "short";
  return element("div", { class: `text ${size}` }, marked(text, words, CELL_CHARACTERS));
}

function cell(report, table, column, row, words, isFirst) {
  const value = table.at(column.place, row);
  const isEmpty = value === null || value === undefined || value === "";
  const align = RIGHT.has(column.kind) ? "number" : isEmpty ? "empty" : null;
  const attributes = { "data-name": visible(column.name), class: align };
  const given = isFirst ? { ...attributes, scope: "row", role: "rowheader" } : { ...attributes, role: "cell" };
  return element(isFirst ? "th" : "td", given, content(report, table, column, row, value, words));
}

function content(report, table, column, row, value, words) {
  switch (column.kind) {
    case "key":
      return element("a", { class: nameClass(value), href: `#/task/${encoded(value)}` }, marked(value, words, CELL_CHARACTERS));
    case "task":
      return taskLink(report, value);
    case "item":
      return itemLink(report, report.taskOf(row), value, marked(value, words, CELL_CHARACTERS));
  }
  if (value === null || value === undefined) return column.kind === "money" ? "unknown" : NOTHING;
  switch (column.kind) {
    case "state":
      return stateOf(value);
    case "score":
      return element("div", { class: "score" }, scoreCell(table, column, row, value), element("span", { class: "number" }, score(value, column.low, column.high)));
    case "money":
      return money(value);
    case "seconds":
      return seconds(value);
    case "number":
    case "integer":
      return number(value);
    case "labels":
      return (Array.isArray(value) ? value : [value]).map((label) =>
        element("span", { class: "label" }, marked(asText(label), words, CELL_CHARACTERS)),
      );
    default:
      return textCell(asText(value), words);
  }
}
