/* The keys of the page. Backspace has no effect: it undoes in some tools and discards in others. */

export const HELP = [
  ["a", "accept: the answer is right"],
  ["x", "reject: the answer is wrong"],
  ["1 … 9", "choose the right value"],
  ["e", "edit: type the right value"],
  ["Space", "skip: decide nothing"],
  ["u, Ctrl+Z", "undo the last decision"],
  ["j, k", "next, previous"],
  ["/", "search"],
  ["?", "this help"],
];
export const BLIND_HELP = [
  ["1", "the left answer is better"],
  ["2", "the right answer is better"],
  ["0", "neither is better"],
  ...HELP.slice(4),
];

const WRITES = "input, textarea, select, [contenteditable]";
const ACTS_ON_SPACE = "button, summary, a[href], input";

/** Returns the name of what a key asks for, or null. `areSingle`: keys without Ctrl act, too. */
export function actionOf(event, areSingle) {
  if (event.repeat || event.isComposing || event.target.closest?.(WRITES)) return null;
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "z") return "undo";
  if (isCommand || event.altKey || !areSingle) return null;
  if (/^[0-9]$/.test(event.key)) return event.key;
  switch (event.key) {
    case "a": return "accept";
    case "x": return "reject";
    case "e": return "edit";
    case "u": return "undo";
    case "j": return "next";
    case "k": return "previous";
    case "/": return "search";
    case "?": return "help";
    case " ": return event.target.closest?.(ACTS_ON_SPACE) ? null : "skip";
    default: return null;
  }
}
