// Makes elements and formats values. Texts of a run are only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const NOTHING = "–";

function byId(id) {
  return document.getElementById(id);
}

// Returns a part of an address without its percent-encoding, undefined if that is malformed.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function button(label, attributes, pressed) {
  const made = element("button", { type: "button", class: "button", ...attributes }, label);
  made.addEventListener("click", pressed);
  return made;
}

// Characters that would be invisible, or would reorder the text around them, are written as their code.
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu;

function visible(value) {
  return String(value).replace(UNSEEN, (found) => {
    const code = found.codePointAt(0);
    const digits = code.toString(16);
    return code < 256 ? `\\x${digits.padStart(2, "0")}` : `\\u${digits.padStart(4, "0")}`;
  });
}

// ---- formats ---------------------------------------------------------------------------------------------

const WHOLE = new Intl.NumberFormat("en-US");
const PARTS = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });

function number(value) {
  if (typeof value !== "number") return value === null || value === undefined ? NOTHING : visible(value);
  return Number.isInteger(value) ? WHOLE.format(value) : PARTS.format(value);
}

function money(value) {
  if (typeof value !== "number") return "unknown";
  if (value > 0 && value < 0.000001) return "<$0.000001";
  const digits = value === 0 || value >= 1 ? 2 : value >= 0.01 ? 4 : 6;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

function seconds(value) {
  if (typeof value !== "number") return NOTHING;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  return clock(value, Math.round(value) >= 3600);
}

function clock(value, hasHours) {
  const whole = Math.round(value);
  const parts = hasHours ? [whole / 3600, (whole / 60) % 60, whole % 60] : [whole / 60, whole % 60];
  return parts.map((part, place) => String(Math.floor(part)).padStart(place ? 2 : 1, "0")).join(":");
}

// Returns the format of durations on an axis that ends at `last`: they have one unit, so that no two look alike.
function secondsOfAxis(last) {
  if (last < 1) return (value) => `${PARTS.format(value * 1000)} ms`;
  if (last < 60) return (value) => `${PARTS.format(value)} s`;
  return (value) => clock(value, last >= 3600);
}

function moment(began, offset) {
  const at = new Date((began + offset) * 1000);
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function asText(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// A score with as many decimals as its scale needs.
function score(value, low, high) {
  if (typeof value !== "number") return NOTHING;
  const range = (high ?? 1) - (low ?? 0);
  return value.toFixed(range > 50 ? 0 : range > 5 ? 1 : 2);
}

// ---- small drawings --------------------------------------------------------------------------------------

function intervalBar(value, low, high, scale) {
  const at = (each) => Math.min(Math.max((each - scale[0]) / (scale[1] - scale[0] || 1), 0), 1) * 100;
  const drawn = svg(
    "svg",
    { class: "row-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", y: 4.5, width: 100, height: 1 }),
  );
  if (typeof low === "number" && typeof high === "number") {
    drawn.append(svg("rect", { class: "span", x: at(low), y: 2.5, width: Math.max(at(high) - at(low), 1), height: 5 }));
  }
  drawn.append(svg("rect", { class: "dot", x: Math.max(at(value) - 0.8, 0), width: 1.6, height: 10 }));
  return drawn;
}

// ---- found text ------------------------------------------------------------------------------------------

// Returns nodes of a text in which the words are marked. A long text is cut to where the first of them is.
function marked(text, words, most) {
  let shown = visible(text);
  if (shown.length > most) {
    const lower = shown.toLowerCase();
    const places = words.map((word) => lower.indexOf(word)).filter((place) => place >= 0);
    const begin = Math.max(0, (places.length ? Math.min(...places) : 0) - 60);
    shown = `${begin ? "…" : ""}${shown.slice(begin, begin + most)}${begin + most < shown.length ? "…" : ""}`;
  }
  if (!words.length) return [shown];
  const nodes = [];
  const lower = shown.toLowerCase();
  let at = 0;
  while (at < shown.length) {
    let next = -1;
    let length = 0;
    for (const word of words) {
      const place = lower.indexOf(word, at);
      if (place >= 0 && (next < 0 || place < next)) [next, length] = [place, word.length];
    }
    if (next < 0) break;
    nodes.push(shown.slice(at, next), element("mark", {}, shown.slice(next, next + length)));
    at = next + length;
  }
  nodes.push(shown.slice(at));
  return nodes;
}
