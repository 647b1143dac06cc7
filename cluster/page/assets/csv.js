// Exports rows as CSV (RFC 4180), by the rules of `headrace results --format csv`: every text is quoted and no
// number is. A text that a spreadsheet would take for a formula gets an apostrophe, except a number; so does each
// place in it where a spreadsheet that separates cells at semicolons or tabs would begin a new cell.

const FORMULA = /^ *[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const BEFORE_FORMULA = /(?<![\s";])[\s";]+(?=[=+\-@\uff1d\uff0b\uff0d\uff20])/g;
const SEPARATORS = /[\t\r\n;]/;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

function withoutFormulas(text) {
  return text.replace(BEFORE_FORMULA, (found) => (SEPARATORS.test(found) ? `${found}'` : found));
}

function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string" && typeof value !== "object") return String(value);
  let text = withoutFormulas(visible(typeof value === "object" ? JSON.stringify(value) : value));
  if (typeof value === "string" && FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
  return `"${text.replaceAll('"', '""')}"`;
}

function csvOf(header, rows) {
  return [header, ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
}

function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
