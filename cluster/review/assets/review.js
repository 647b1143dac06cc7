/* The page of a review: asks the server for one question at a time, and sends it each decision. */

import { button, decisionText, make, showMaterial, showPair, showQuestion } from "./card.js";
import { actionOf, BLIND_HELP, HELP } from "./keys.js";

const at = (id) => document.getElementById(id);
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
    at("trouble").hidden = true;
  } catch (error) {
    at("trouble").textContent = error.message;
    at("trouble").hidden = false;
  } finally {
    isBusy = false;
  }
}

// ---- showing ------------------------------------------------------------------------------------------

function showProgress(progress) {
  review.progress = progress;
  at("bar").max = Math.max(1, progress.total);
  at("bar").value = progress.decided;
  const skipped = progress.skipped ? `, ${progress.skipped} of them skipped` : "";
  at("count").textContent = `${progress.decided} of ${progress.total} decided${skipped}`;
  at("precision").replaceChildren(
    ...Object.entries(progress.fields).map(([name, known]) => {
      const figures = known.judged
        ? `${known.right} of ${known.judged} right, ${known.share}`
        : "nothing judged yet";
      return make("li", "", make("b", "", name), ` ${figures}`);
    }),
  );
}

async function show(index, said = "") {
  if (index === null) return showEnd(said);
  card = await ask(`/api/questions/${index}`);
  at("title").textContent = card.task;
  const place = `question ${index + 1} of ${review.questions.length}`;
  const item = card.item === `rows:${card.task}` ? "" : `item ${card.item}`;
  at("where").textContent = [place, item, card.why].filter(Boolean).join(" · ");
  showMaterial(card);
  if (review.is_blind) showPair(card, act);
  else showQuestion(card, act);
  const decided = decisionText(card.decision);
  at("state").textContent = decided && `${card.is_open ? "Before" : "Now"}: ${decided}`;
  at("main").classList.remove("ended");
  announce(said, index);
}

function showEnd(said) {
  card = null;
  at("title").textContent = "All questions have a decision";
  at("where").textContent = "";
  at("content").replaceChildren(
    make("p", "", "Ctrl-C in the terminal ends the review and prints the figures."),
    make("p", "", "k shows the last question, u withdraws the last decision."),
  );
  at("asks").textContent = "What next?";
  for (const id of ["answer", "options"]) at(id).replaceChildren();
  at("actions").replaceChildren(
    button("Undo", "u", "quiet", () => act("undo")),
    button("Back", "k", "quiet", () => act("previous")),
  );
  at("state").textContent = "";
  at("main").classList.add("ended");
  announce(said, review.questions.length);
}

function announce(said, index) {
  review.at = index;
  at("said").textContent = said;
  at("title").focus({ preventScroll: true });
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
    case "help": return at("help").showModal();
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
  at("edit-label").textContent = `${card.field}: ${card.wanted}`;
  at("edit-text").value = card.answer ?? "";
  at("edit-error").textContent = "";
  at("edit").showModal();
  at("edit-text").select();
}

function saveEdit() {
  return alone(async () => {
    try {
      await decide({ action: "edit", text: at("edit-text").value }, "corrected");
      at("edit").close();
      at("title").focus({ preventScroll: true });
    } catch (error) {
      at("edit-error").textContent = error.message; // the page behind the dialog is not read out
    }
  });
}

function openSearch() {
  at("search-text").value = "";
  at("search").showModal();
  search();
}

async function search() {
  const words = at("search-text").value.trim();
  const found = words
    ? await ask(`/api/search?q=${encodeURIComponent(words)}`).catch((error) => ({ error }))
    : { matches: review.questions.slice(0, SHOWN_ENTRIES).map((_, index) => index), count: review.questions.length };
  if (words !== at("search-text").value.trim()) return; // the answer to a later text is on its way
  if (found.error) {
    at("search-count").textContent = found.error.message;
    return;
  }
  const noun = found.count === 1 ? "question" : "questions";
  const cut = found.count > found.matches.length ? `; the first ${found.matches.length} are shown` : "";
  at("search-count").textContent = `${found.count} ${noun}${cut}`;
  at("matches").replaceChildren(...found.matches.map(match));
}

function match(index) {
  const entry = review.questions[index];
  const decided = entry.is_open ? "open" : decisionText(entry);
  const label = `${index + 1}. ${entry.task}${entry.item === `rows:${entry.task}` ? "" : `, ${entry.item}`}`;
  const made = button(label, "", "quiet match", () => {
    at("search").close();
    alone(() => show(index));
  });
  made.append(make("span", "soft", ` ${entry.field} · ${decided}`));
  return make("li", "", made);
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
  at("open-search").addEventListener("click", () => act("search"));
  at("open-help").addEventListener("click", () => act("help"));
  for (const id of ["edit", "search", "help"]) {
    at(`${id}-close`).addEventListener("click", () => at(id).close());
  }
  at("edit-form").addEventListener("submit", (event) => {
    event.preventDefault();
    saveEdit();
  });
  at("edit-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    saveEdit();
  });
  let waiting;
  at("search-text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, SEARCH_PAUSE_MS);
  });
  at("search-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    await search(); // the list may belong to an earlier text
    at("matches").querySelector("button")?.click();
  });
  at("single-keys").checked = areSingleKeys();
  at("single-keys").addEventListener("change", (event) => {
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
    at("run").textContent = review.is_blind ? `${review.run} and ${review.other}, blind` : review.run;
    at("note").textContent = at("help-note").textContent = review.note;
    at("kept").textContent = `Decisions of ${review.reviewer} are stored at once in ${review.file}.`;
    at("keys").replaceChildren(
      ...(review.is_blind ? BLIND_HELP : HELP).flatMap(([key, text]) => [
        make("dt", "", make("kbd", "", key)),
        make("dd", "", text),
      ]),
    );
    showProgress(review.progress);
    at("main").classList.toggle("blind", review.is_blind);
    at("main").hidden = false;
    await show(review.next);
  });
}

start();
