/* The page of a review: asks the server for one question at a time, and sends it each decision. */

import { decisionText, keyButton, showMaterial, showPair, showQuestion } from "./card.js";
import { actionOf, BLIND_HELP, HELP } from "./keys.js";

const SEARCH_PAUSE_MS = 150;
const SHOWN_ENTRIES = 100;

let review = null; // the overview: names, questions, progress
let card = null; // the question that is shown
let isBusy = false; // a request is under way; a key would decide about a question that nobody has seen
let token = "";

// ---- the server ---------------------------------------------------------------------------------------

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  const options = { headers };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    options.method = "POST";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Start the review again: all decisions until here are stored.");
  }
  const document = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Error(document.error);
  return document;
}

/** Runs `work` alone. Shows what went wrong. */
async function alone(work) {
  if (isBusy) return;
  isBusy = true;
  try {
    await work();
    byId("trouble").hidden = true;
  } catch (error) {
    byId("trouble").textContent = visible(error.message);
    byId("trouble").hidden = false;
  } finally {
    isBusy = false;
  }
}

// ---- showing ------------------------------------------------------------------------------------------

function showProgress(progress) {
  review.progress = progress;
  byId("bar").max = Math.max(1, progress.total);
  byId("bar").value = progress.decided;
  const skipped = progress.skipped ? `, ${progress.skipped} of them skipped` : "";
  byId("count").textContent = `${progress.decided} of ${progress.total} decided${skipped}`;
  byId("precision").replaceChildren(
    ...Object.entries(progress.fields).map(([name, known]) => {
      const figures = known.judged
        ? `${known.right} of ${known.judged} right, ${known.share}`
        : "nothing judged yet";
      return element("li", {}, element("b", {}, visible(name)), ` ${figures}`);
    }),
  );
}

async function show(index, said = "") {
  if (index === null) return showEnd(said);
  card = await ask(`/api/questions/${index}`);
  byId("title").textContent = visible(card.task);
  const place = `question ${index + 1} of ${review.questions.length}`;
  const item = card.item === `rows:${card.task}` ? "" : `item ${card.item}`;
  byId("where").textContent = visible([place, item, card.why].filter(Boolean).join(" · "));
  showMaterial(card);
  if (review.is_blind) showPair(card, act);
  else showQuestion(card, act);
  const decided = decisionText(card.decision);
  byId("state").textContent = decided && visible(`${card.is_open ? "Before" : "Now"}: ${decided}`);
  byId("main").classList.remove("ended");
  announce(said, index);
}

function showEnd(said) {
  card = null;
  byId("title").textContent = "All questions have a decision";
  byId("where").textContent = "";
  byId("content").replaceChildren(
    element("p", {}, "Ctrl-C in the terminal ends the review and prints the figures."),
    element("p", {}, "k shows the last question, u withdraws the last decision."),
  );
  byId("asks").textContent = "What next?";
  for (const id of ["answer", "options"]) byId(id).replaceChildren();
  byId("actions").replaceChildren(
    keyButton("Undo", "u", "quiet", () => act("undo")),
    keyButton("Back", "k", "quiet", () => act("previous")),
  );
  byId("state").textContent = "";
  byId("main").classList.add("ended");
  announce(said, review.questions.length);
}

function announce(said, index) {
  review.at = index;
  byId("said").textContent = visible(said);
  byId("title").focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

// ---- deciding -----------------------------------------------------------------------------------------

async function decide(body, label) {
  const index = card.index;
  const answer = await ask("/api/decisions", { question: index, ...body });
  review.questions[index] = answer.entry;
  showProgress(answer.progress);
  await show(answer.next, `Saved: ${label}.`);
}

async function undo() {
  const answer = await ask("/api/undo", {});
  review.questions[answer.next] = answer.entry;
  showProgress(answer.progress);
  await show(answer.next, "The last decision is withdrawn.");
}

async function move(step) {
  const index = review.at + step;
  if (index >= 0 && index < review.questions.length) await show(index);
}

const DECISIONS = { accept: "accepted", reject: "rejected", skip: "skipped" };

/** Does what a key or a button asks for. */
function act(name, value) {
  switch (name) {
    case "search": return openSearch();
    case "help": return byId("help").showModal();
    case "undo": return alone(undo);
    case "next": return alone(() => move(1));
    case "previous": return alone(() => move(-1));
    default: if (card !== null) return decideBy(name, value);
  }
}

function decideBy(name, value) {
  switch (name) {
    case "accept":
    case "reject":
      if (review.is_blind) return;
      return alone(() => decide({ action: name }, DECISIONS[name]));
    case "skip": return alone(() => decide({ action: "skip" }, "skipped"));
    case "edit": return review.is_blind ? undefined : openEdit();
    case "choose": return alone(() => decide({ action: "choose", option: value }, card.options[value].shown));
    case "prefer": return alone(() => decide({ action: "prefer", side: value }, value));
    default: return press(name);
  }
}

/** Does what a digit stands for. */
function press(digit) {
  if (review.is_blind) {
    const side = { 0: "neither", 1: "left", 2: "right" }[digit];
    return side && act("prefer", side);
  }
  const place = card.options.findIndex((option) => option.key === digit);
  if (place >= 0) act("choose", place);
}

// ---- dialogs ------------------------------------------------------------------------------------------

function openEdit() {
  byId("edit-label").textContent = visible(`${card.field}: ${card.wanted}`);
  byId("edit-text").value = card.answer ?? "";
  byId("edit-error").textContent = "";
  byId("edit").showModal();
  byId("edit-text").select();
}

function saveEdit() {
  return alone(async () => {
    try {
      await decide({ action: "edit", text: byId("edit-text").value }, "corrected");
      byId("edit").close();
      byId("title").focus({ preventScroll: true });
    } catch (error) {
      byId("edit-error").textContent = visible(error.message); // the page behind the dialog is not read out
    }
  });
}

function openSearch() {
  byId("search-text").value = "";
  byId("search").showModal();
  search();
}

async function search() {
  const words = byId("search-text").value.trim();
  const found = words
    ? await ask(`/api/search?q=${encodeURIComponent(words)}`).catch((error) => ({ error }))
    : { matches: review.questions.slice(0, SHOWN_ENTRIES).map((_, index) => index), count: review.questions.length };
  if (words !== byId("search-text").value.trim()) return; // the answer to a later text is on its way
  if (found.error) {
    byId("search-count").textContent = visible(found.error.message);
    return;
  }
  const noun = found.count === 1 ? "question" : "questions";
  const cut = found.count > found.matches.length ? `; the first ${found.matches.length} are shown` : "";
  byId("search-count").textContent = `${found.count} ${noun}${cut}`;
  byId("matches").replaceChildren(...found.matches.map(match));
}

function match(index) {
  const entry = review.questions[index];
  const decided = entry.is_open ? "open" : decisionText(entry);
  const label = `${index + 1}. ${entry.task}${entry.item === `rows:${entry.task}` ? "" : `, ${entry.item}`}`;
  const made = keyButton(label, "", "quiet match", () => {
    byId("search").close();
    alone(() => show(index));
  });
  made.append(element("span", { class: "dim" }, visible(` ${entry.field} · ${decided}`)));
  return element("li", {}, made);
}

function areSingleKeys() {
  return localStorage.getItem("single-keys") !== "off";
}

// ---- the start ----------------------------------------------------------------------------------------

function listen() {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const action = actionOf(event, areSingleKeys());
    if (action === null) return;
    event.preventDefault();
    act(action);
  });
  byId("open-search").addEventListener("click", () => act("search"));
  byId("open-help").addEventListener("click", () => act("help"));
  for (const id of ["edit", "search", "help"]) {
    byId(`${id}-close`).addEventListener("click", () => byId(id).close());
  }
  byId("edit-form").addEventListener("submit", (event) => {
    event.preventDefault();
    saveEdit();
  });
  byId("edit-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    saveEdit();
  });
  let waiting;
  byId("search-text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, SEARCH_PAUSE_MS);
  });
  byId("search-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    await search(); // the list may belong to an earlier text
    byId("matches").querySelector("button")?.click();
  });
  byId("single-keys").checked = areSingleKeys();
  byId("single-keys").addEventListener("change", (event) => {
    localStorage.setItem("single-keys", event.target.checked ? "on" : "off");
  });
  addEventListener("hashchange", () => location.reload());
}

/** Takes the token out of the address, where a screenshot would show it. A reload finds it in the tab. */
function takeToken() {
  token = location.hash.slice(1) || sessionStorage.getItem("token") || "";
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", "/");
}

async function start() {
  takeToken();
  listen();
  await alone(async () => {
    review = await ask("/api/review");
    document.title = `Review of ${review.run} – Headrace`;
    byId("run").textContent = visible(review.is_blind ? `${review.run} and ${review.other}, blind` : review.run);
    byId("note").textContent = byId("help-note").textContent = review.note;
    byId("kept").textContent = visible(`Decisions of ${review.reviewer} are stored at once in ${review.file}.`);
    byId("keys").replaceChildren(
      ...(review.is_blind ? BLIND_HELP : HELP).flatMap(([key, text]) => [
        element("dt", {}, element("kbd", {}, key)),
        element("dd", {}, text),
      ]),
    );
    showProgress(review.progress);
    byId("main").classList.toggle("blind", review.is_blind);
    byId("main").hidden = false;
    await show(review.next);
  });
}

start();
