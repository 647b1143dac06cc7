// One task: its stages as they happen, its report, its attempts. Everything shown becomes text, never markup.

let followed = null; // aborts the stream of the task that is shown

const STAGES = {
  accepted: () => "accepted",
  started: () => "its turn has come",
  collected: (data) =>
    `collected: ${Object.entries(data.sources)
      .map(([name, each]) => `${name} ${each.error ? "failed" : each.items}`)
      .join(", ")}`,
  evaluated: (data) => `evaluated: ${data.evaluated} items${data.failed ? `, ${data.failed} failed` : ""}`,
  dimension: (data) => `${data.name}: ${data.score === null ? "no score" : score(data.score)}`,
  ended: (data) => `ended: ${data.state}`,
};

function showStage(kind, event) {
  const words = (STAGES[kind] || (() => kind))(event.data);
  const at = element("span", { class: "dim" }, `  ·  ${dateText(event.at)}`);
  byId("stages").append(element("li", {}, visible(words), at));
}

async function openTask(id) {
  closeTask();
  const following = new AbortController();
  followed = following;
  selectRow(id);
  byId("task").hidden = false;
  byId("split").classList.add("open");
  byId("task-key").textContent = visible(id);
  try {
    const task = await read(`/v1/tasks/${encodeURIComponent(id)}`);
    showTask(task);
    byId("task").focus({ preventScroll: true });
    byId("task").scrollIntoView({ block: "nearest" });
    await follow(task, following.signal);
    if (following.signal.aborted) return;
    showTask(await read(task.links.self));
    await showReport(task);
    if (byId("attempts-box").open) await showAttempts();
  } catch (error) {
    if (!following.signal.aborted) byId("task-state").textContent = error.message;
  }
}

function closeTask() {
  followed?.abort();
  followed = null;
  byId("task").hidden = true;
  byId("split").classList.remove("open");
  for (const id of ["stages", "report", "attempts", "task-state"]) byId(id).replaceChildren();
  byId("attempts-box").open = false;
  byId("cancel").hidden = true;
  selectRow("");
}

function showTask(task) {
  const facts = [`priority ${task.priority}`, `accepted ${dateText(task.accepted_at)}`];
  if (task.batch) facts.push(`batch ${visible(task.batch)}`);
  if (task.ended_at) facts.push(`took ${took(task)}`);
  if (task.calls) facts.push(`${number(task.calls.billed)} billed calls`);
  if (task.tokens) facts.push(`${number(task.tokens.input)} tokens in, ${number(task.tokens.output)} out`);
  if (task.ended_at) facts.push(task.cost_usd === null ? "price unknown" : money(task.cost_usd));
  byId("task-key").textContent = visible(task.key);
  const told = element("span", { class: "dim" }, ` · ${facts.join(" · ")}`);
  byId("task-state").replaceChildren(stateMark(task.state), told);
  byId("parameters").textContent = visible(JSON.stringify(task.params, null, 2));
  byId("cancel").hidden = task.state !== "accepted";
  byId("cancel").dataset.path = task.links.self;
  byId("task").dataset.path = task.links.self;
}

// Shows the events of a task up to its end. A connection that breaks continues after the last event.
async function follow(task, signal) {
  let last = 0;
  while (!signal.aborted) {
    try {
      const answer = await ask("GET", task.links.events, { headers: { "Last-Event-ID": String(last) }, signal });
      if (answer.status === 204) return;
      if (!answer.ok) await documentOf(answer);
      for await (const each of eventsOf(answer.body)) {
        if (signal.aborted) return;
        if (each.kind === "error") throw new Error(each.data.detail);
        last = each.id;
        showStage(each.kind, each.data);
        if (each.kind === "ended") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status < 500 && error.status !== 429) throw error;
      await pause(1500);
    }
  }
}

async function showReport(task) {
  const answer = await ask("GET", `${task.links.result}?items=true`);
  const place = byId("report");
  place.replaceChildren();
  if (answer.status === 410) return; // a cancelled task has none
  const report = await documentOf(answer);
  if (report.errors?.length) {
    const errors = report.errors.map((each) => element("li", {}, visible(each)));
    place.append(element("h4", {}, "Errors"), element("ul", { class: "bad" }, errors));
  }
  if (report.dimensions.length) place.append(element("h4", {}, "Report"), dimensionList(report));
  if (report.items?.length) place.append(itemBox(report.items));
}

function dimensionList(report) {
  const overall = report.overall === null ? "no overall score" : `overall ${score(report.overall)}`;
  return element(
    "ul",
    {},
    element("li", {}, element("b", {}, overall)),
    report.dimensions.map((each) => {
      const mark = each.score === null ? "no score" : score(each.score);
      return element("li", {}, element("b", {}, `${visible(each.name)} ${mark}`), ` ${visible(each.finding || "")}`);
    }),
  );
}

function itemBox(items) {
  const rows = items.map((each) =>
    row(cell(visible(each.item)), cell(stateMark(each.state)), cell(visible(each.error || answerText(each.values)))),
  );
  const summary = element("summary", {}, `Items (${items.length})`);
  return element("details", { open: items.length < 6 }, summary, rowsTable(["Item", "State", "Answer"], rows));
}

function answerText(values) {
  const fields = Object.values(values).flatMap((each) => Object.entries(each));
  return fields.map(([name, value]) => `${name}: ${asText(value)}`).join(" · ");
}

async function showAttempts() {
  const place = byId("attempts");
  try {
    const { attempts, has_more: hasMore } = await read(`${byId("task").dataset.path}/attempts`);
    const rows = attempts.map((each) =>
      row(
        cell(`+${seconds(between(attempts[0].began_at, each.began_at))}`, "number"),
        cell(visible(each.endpoint)),
        cell(attemptText(each)),
        cell(each.ended_at ? seconds(between(each.began_at, each.ended_at)) : NOTHING, "number"),
      ),
    );
    place.replaceChildren(rowsTable(["Began", "Endpoint", "Outcome", "Took"], rows));
    if (hasMore) place.append(element("p", { class: "dim" }, "and more"));
    if (!attempts.length) place.textContent = "No attempt was made.";
  } catch (error) {
    place.textContent = error.message;
  }
}

function attemptText(attempt) {
  const parts = [attempt.outcome || (attempt.in_doubt ? "in flight, or its end is unknown" : "in flight")];
  if (attempt.repeats > 1) parts[0] += ` × ${attempt.repeats}`;
  if (attempt.hedge) parts.push("hedge");
  if (attempt.message) parts.push(attempt.message);
  return visible(parts.join(": "));
}

byId("attempts-box").addEventListener("toggle", () => {
  if (byId("attempts-box").open) showAttempts();
});
byId("close").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  closeTask();
});
byId("cancel").addEventListener("click", async () => {
  byId("cancel").hidden = true;
  try {
    await documentOf(await ask("DELETE", byId("cancel").dataset.path));
  } catch (error) {
    byId("task-state").textContent = error.message;
  }
});

function openFromAddress() {
  const named = location.hash.match(/^#task=(.+)$/);
  const key = named && decoded(named[1]);
  if (key) openTask(key);
}

addEventListener("hashchange", openFromAddress);
