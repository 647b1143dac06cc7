// The list of tasks: pages from the service, found by the beginning of a key and by state.

const ROWS = 25;
const EMPTY_PAGES = 20; // pages without a task of the state that are passed over at once
let listing = 0;
let following = null; // the cursor of the next page
let cursor = "";
let pageNumber = 1;
let selected = "";

function stateWord(state) {
  return state === "accepted" ? "unfinished" : state;
}

function stateMark(state) {
  return element("span", { class: `state ${state === "accepted" ? "open" : state}` }, stateWord(state));
}

function dateText(text) {
  if (!text) return NOTHING;
  const at = new Date(text);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? at.toLocaleTimeString() : `${at.toLocaleDateString()} ${at.toLocaleTimeString()}`;
}

function between(began, ended) {
  return (new Date(ended) - new Date(began)) / 1000;
}

function took(task) {
  return task.ended_at ? seconds(between(task.accepted_at, task.ended_at)) : NOTHING;
}

function taskRow(task) {
  const open = element("button", { type: "button", class: "link" }, visible(task.key));
  open.addEventListener("click", () => {
    location.hash = `task=${encodeURIComponent(task.id)}`;
  });
  return element(
    "tr",
    { "data-id": task.id, "aria-selected": task.id === selected ? "true" : "false" },
    cell(open),
    cell(stateMark(task.state)),
    cell(dateText(task.accepted_at), "dim accepted"),
    cell(took(task), "number"),
  );
}

function listQuery(after) {
  const query = new URLSearchParams({ limit: ROWS, order: "newest" });
  if (byId("prefix").value) query.set("key_prefix", byId("prefix").value);
  if (byId("filter").value) query.set("state", byId("filter").value);
  if (after) query.set("cursor", after);
  return `/v1/tasks?${query}`;
}

async function listTasks() {
  const mine = ++listing;
  try {
    let page = await read(listQuery(cursor));
    for (let tries = 0; !page.tasks.length && page.next && tries < EMPTY_PAGES; tries += 1) {
      page = await read(listQuery(page.next));
    }
    if (mine !== listing) return; // another search has begun
    showTasks(page);
  } catch (error) {
    if (mine === listing) byId("page").textContent = error.message;
  }
}

function showTasks(page) {
  const held = document.activeElement?.closest?.("#tasks tr")?.dataset.id;
  const rows = page.tasks.map(taskRow);
  byId("tasks").replaceChildren(...rows);
  if (held)
    rows
      .find((row) => row.dataset.id === held)
      ?.querySelector("button")
      .focus();
  following = page.next;
  byId("next").disabled = !following;
  byId("first").disabled = !cursor;
  const nothing = page.next ? "none among those looked at; the next page goes on" : "no task";
  byId("page").textContent = rows.length ? `page ${pageNumber}` : nothing;
}

function beginList() {
  cursor = "";
  pageNumber = 1;
  listTasks();
}

// Lists again when something has changed, unless another page than the first is read.
function refreshTasks() {
  if (!cursor) listTasks();
}

function selectRow(id) {
  selected = id;
  for (const row of byId("tasks").rows) row.setAttribute("aria-selected", String(row.dataset.id === id));
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  beginList();
});
byId("filter").addEventListener("change", beginList);
byId("first").addEventListener("click", beginList);
byId("next").addEventListener("click", () => {
  cursor = following;
  pageNumber += 1;
  listTasks();
});
