// Shows what the service does now, and asks again every two seconds while the page can be seen.

const NOW_MS = 2_000;
const HISTORY_MS = 5_000;
const FAILURES_MS = 10_000;
const due = { history: 0, failures: 0 };
let before = null; // the totals of the last answer
let shownCounts = "";

function say(text, kind) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
  byId("state").className = kind;
}

async function look() {
  try {
    const known = await read("/v1/pipeline");
    byId("token-form").hidden = true;
    showNow(known);
    say("● live", "good");
    const now = performance.now();
    if (hasNewEnds(known.tasks.states)) due.failures = 0;
    if (now >= due.history) {
      due.history = now + HISTORY_MS;
      showHistory(await read("/v1/history"));
    }
    if (now >= due.failures) {
      due.failures = now + FAILURES_MS;
      showFailures(await read("/v1/failures"), known);
    }
  } catch (error) {
    if (error.status === 401) askForToken();
    say(error.status === 401 ? "a token is needed" : String(error.message || error), "bad");
  }
}

let shownEnds = "";

function hasNewEnds(states) {
  const ends = `${states?.partial} ${states?.failed}`;
  const isNew = ends !== shownEnds;
  shownEnds = ends;
  return isNew;
}

function becomesVisible() {
  return new Promise((seen) => {
    document.addEventListener("visibilitychange", seen, { once: true });
  });
}

async function keepLooking() {
  for (;;) {
    await look();
    await pause(NOW_MS);
    while (document.hidden) await becomesVisible();
  }
}

function tenth(value) {
  return typeof value === "number" ? Math.round(value * 10) / 10 : undefined;
}

function pace(known, sum) {
  const calls = known.calls;
  if (!calls) return null;
  const now = { at: performance.now(), done: sum("succeeded") + sum("failed") };
  const rate = before && now.done >= before.done ? (now.done - before.done) / ((now.at - before.at) / 1000) : null;
  before = now;
  return rate;
}

function showNow(known) {
  byId("name").textContent = visible(known.name);
  const binding = visible(known.stopped_by || known.binding);
  if (byId("binding").textContent !== binding) byId("binding").textContent = binding;
  byId("binding").classList.toggle("failed", Boolean(known.stopped_by || known.journal?.trouble));
  const sum = (field) => known.endpoints.reduce((total, each) => total + (each[field] ?? 0), 0);
  const states = known.tasks.states;
  const rate = pace(known, sum);
  const numbers = {
    unfinished: known.tasks.unfinished ?? known.tasks.active + known.tasks.accepted,
    "tasks / s": tenth(known.tasks.drain_per_s),
    succeeded: states && (states.succeeded || 0),
    partial: states && (states.partial || 0),
    failed: states && (states.failed || 0),
    "answers / s": tenth(rate),
    "calls queued": known.calls?.queued,
    "in flight": sum("in_flight"),
    limit: sum("limit"),
    cost: known.cost_usd === null ? undefined : money(known.cost_usd),
  };
  const shown = Object.entries(numbers).filter(([, value]) => value !== undefined && value !== null);
  byId("numbers").replaceChildren(
    ...shown.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, number(value)))),
  );
  showParts("endpoints", known.endpoints, (each) => [each.limit, each.in_flight, each.refused]);
  showParts("sources", known.sources, (each) => [each.fetched, each.failed]);
  byId("sources-box").hidden = !known.sources.length;
  refreshWhenChanged(known.tasks);
}

// The list is read again only if a task was accepted or has ended since.
function refreshWhenChanged(tasks) {
  const counts = JSON.stringify([tasks.unfinished, tasks.active, tasks.accepted, tasks.ended]);
  if (counts !== shownCounts) refreshTasks();
  shownCounts = counts;
}

function showParts(id, parts, cells) {
  byId(id).replaceChildren(
    ...parts.map((each) => {
      const isWell = each.breaker === "closed" && !each.fault;
      const health = isWell ? "✓ ok" : `✕ ${each.fault ? "fault" : `breaker ${each.breaker.replace("_", " ")}`}`;
      return row(
        cell([visible(each.name), partTrouble(each)]),
        cell(health, isWell ? "good" : "bad"),
        cells(each).map((value) => cell(number(value), "number")),
      );
    }),
  );
}

function partTrouble(part) {
  const trouble = part.fault || part.last_failure || part.last_error;
  return trouble ? element("div", { class: "dim" }, visible(trouble)) : null;
}

function showFailures(found, known) {
  const rows = found.causes.map((each) => {
    const others = each.others.map((other) => element("div", { class: "dim" }, visible(`also: ${other}`)));
    return row(cell(number(each.tasks), "number"), cell([visible(each.cause), others]));
  });
  const none = element("p", { class: "good" }, "✓ No task failed.");
  byId("causes").replaceChildren(rows.length ? rowsTable(["Tasks", "Cause"], rows) : none);
  const latest = known.recent_failures.map((each) => element("li", {}, visible(each)));
  byId("latest").replaceChildren(...latest.reverse());
  byId("latest-box").hidden = !latest.length;
  const absorbed = known.endpoints.reduce((total, each) => total + (each.refused || 0), 0);
  const repeated = absorbed === 1 ? "1 refusal was" : `${number(absorbed)} refusals were`;
  byId("absorbed").textContent = absorbed ? `${repeated} absorbed: those calls waited, and were attempted again.` : "";
}

byId("submit").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("submit-note").textContent = "";
  try {
    const wanted = { params: JSON.parse(byId("params").value || "{}"), priority: byId("priority").value };
    if (byId("key").value) wanted.key = byId("key").value;
    const headers = { "Idempotency-Key": Array.from(crypto.getRandomValues(new Uint32Array(4)), String).join("-") };
    const task = await documentOf(await ask("POST", "/v1/tasks", { body: JSON.stringify(wanted), headers }));
    location.hash = `task=${encodeURIComponent(task.id)}`;
    if (!cursor) listTasks();
  } catch (error) {
    byId("submit-note").textContent = error.message;
  }
});

onToken(() => {
  due.history = due.failures = 0;
  look();
  listTasks();
  openFromAddress();
});
openFromAddress();
keepLooking();
