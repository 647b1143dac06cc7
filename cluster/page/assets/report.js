// The page: shows the view that the address names, and listens to keys.

const summary = byId("summary");
const explore = byId("explore");
const views = byId("views");
const keys = byId("keys");

let report = null;
let tasks = null;
let items = null;
let drawn = 0; // counts the changes of view: a slow one must not replace its successor
let opened = null; // the address of the task or item that was shown last
const lists = { tasks: "#/tasks", items: "#/items" };

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const parts = rest.map((part) => decoded(part) ?? part);
  return { name: name || "summary", parts, state: new URLSearchParams(query ?? "") };
}

function rowOfKey(key) {
  const found = report.keys.get(key);
  if (found !== undefined) return found;
  for (const [known, row] of report.keys) if (encoded(known) === encodeURIComponent(key)) return row;
  return undefined;
}

async function pageOf({ name, parts, state }, container) {
  await report.load();
  if (name === "tasks") return tasks.show(container, state);
  if (name === "items" && !report.isMap) return items.show(container, state);
  const task = rowOfKey(parts[0] ?? "");
  if (name === "task" && task !== undefined) {
    container.replaceChildren(await taskDetail(report, task, tasks, lists.tasks));
    return undefined;
  }
  if (name === "item" && task !== undefined) {
    const row = report.itemsOf(task).find((each) => report.items.get("item", each) === parts[1]);
    if (row !== undefined) {
      container.replaceChildren(await itemDetail(report, row, items, lists.items));
      return undefined;
    }
  }
  const known = report.tasks.count < report.tasks.total ? "It may be one of those that this file leaves out." : "";
  container.replaceChildren(
    element("h1", {}, "Not in this file"),
    element("p", {}, `There is no such ${name === "item" ? "item" : "task"} here. ${known}`),
  );
  return undefined;
}

async function show() {
  const wanted = route();
  drawn += 1;
  const turn = drawn;
  const isSummary = wanted.name === "summary";
  const current = { task: "tasks", item: "items" }[wanted.name] ?? wanted.name;
  for (const link of views.querySelectorAll("a")) {
    if (link.dataset.view === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (wanted.name in lists) lists[wanted.name] = location.hash;
  if (!isSummary) {
    const container = element("div");
    await pageOf(wanted, container);
    if (turn !== drawn) return;
    explore.replaceChildren(...container.childNodes);
  }
  summary.hidden = !isSummary;
  explore.hidden = isSummary;
  window.scrollTo(0, 0);
  if (turn > 1) refocus(wanted.name);
  document.documentElement.dataset.shown = location.hash || "#/";
}

// Moves the focus to the new view; back in a list, to the row that was open.
function refocus(name) {
  const link = name in lists && opened ? explore.querySelector(`a[href="${CSS.escape(opened)}"]`) : null;
  if (link) link.focus();
  else byId("main").focus({ preventScroll: true });
  opened = name in lists ? null : location.hash;
}

// ---- keys ------------------------------------------------------------------------------------------------

function openView() {
  const { name } = route();
  return { tasks, items }[name] ?? null;
}

function pressed(key) {
  const view = openView();
  const turned = { j: 1, k: -1, ArrowDown: null, ArrowUp: null }[key];
  if (key === "?") keys.showModal();
  else if (key === "s") location.hash = "#/";
  else if (key === "t") location.hash = lists.tasks;
  else if (key === "i" && !report.isMap) location.hash = lists.items;
  else if (key === "/") focusSearch(view);
  else if (turned && view) view.select(turned);
  else if (turned) byId(turned > 0 ? "next" : "previous")?.click();
  else if (view && (key === "n" || key === "p")) view.turn(key === "n" ? 1 : -1);
  else if (key === "Escape") byId("back")?.click();
  else return false;
  return true;
}

function focusSearch(view) {
  if (view) {
    view.search.focus();
    return;
  }
  location.hash = lists.tasks;
  addEventListener("hashchange", () => setTimeout(() => openView()?.search.focus(), 50), { once: true });
}

// Empties a search, and leaves a field that is empty. The browser's own way changes the field alone.
function leave(event) {
  const field = event.target;
  if (field.type === "search" && field.value) {
    event.preventDefault();
    field.value = "";
    field.dispatchEvent(new Event("input"));
  } else field.blur();
}

function heard(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") leave(event);
    return;
  }
  if (pressed(event.key)) event.preventDefault();
}

// ---- start -----------------------------------------------------------------------------------------------

async function start() {
  report = new ReportData(await unpacked("index"));
  tasks = new RowView(report, report.tasks, report.isMap ? "Rows" : "Tasks");
  items = new RowView(report, report.items, "Items");
  views.hidden = false;
  const help = byId("help");
  help.hidden = false;
  help.addEventListener("click", () => keys.showModal());
  addEventListener("hashchange", show);
  addEventListener("keydown", heard);
  const plots = byId("plots");
  const { series, limits } = report.index;
  const specs = courseSpecs(series, limits);
  plots.hidden = !specs.length;
  new Plots(plots, SINCE_BEGINNING).show(specs);
  await show();
  document.documentElement.dataset.ready = "usable";
  performance.mark("usable");
  await report.makeSearchable();
  document.documentElement.dataset.ready = "searchable";
  performance.mark("searchable");
  const view = openView();
  if (view?.body?.isConnected) view.refresh();
}

start();
