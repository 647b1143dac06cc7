// Makes tables of rows.

function cell(content, kind) {
  return element("td", { class: kind }, content);
}

function row(...cells) {
  return element("tr", {}, cells);
}

// Returns the nodes of a text in which names stand between backticks.
function prose(text) {
  const parts = visible(text || "").split("`");
  return parts.map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function rowsTable(heads, rows) {
  const head = heads.map((name) => element("th", { scope: "col" }, name));
  return element(
    "table",
    { class: "rows" },
    heads.length ? element("thead", {}, element("tr", {}, head)) : null,
    element("tbody", {}, rows),
  );
}
