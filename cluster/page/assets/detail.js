// One task, or one item: prompts, answers, evidence, attempts and cost. The same facts as `headrace why`.

const OUTCOMES = {
  answered: "succeeded",
  reused: "succeeded",
  refused: "partial",
  in_doubt: "partial",
  in_flight: "open",
};

// Returns the attempts of a task. The file has each as a list, and the names of its parts once.
function attemptsOf(report, history) {
  const names = report.index.attempt;
  return (history.attempts ?? []).map((each) => Object.fromEntries(names.map((name, place) => [name, each[place]])));
}

function block(title, ...children) {
  return element("section", {}, element("h2", {}, title), children);
}

function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", { class: "pairs" }, shown.map(([name, value]) => [element("dt", {}, visible(name)), element("dd", {}, value)]));
}

function longText(title, text) {
  return [element("p", { class: "tag" }, title), element("pre", { tabindex: "0" }, visible(text))];
}

function value(given) {
  if (given === null || given === undefined) return NOTHING;
  if (typeof given === "object") return visible(JSON.stringify(given, null, 2));
  return typeof given === "number" ? number(given) : visible(given);
}

function tableWith(title, header, rows) {
  return element(
    "div",
    { class: "scroll", role: "region", tabindex: "0", "aria-label": title },
    element(
      "table",
      { class: "grid" },
      element("thead", {}, element("tr", {}, header.map(([name, align]) => element("th", { scope: "col", class: align }, name)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((each, place) => element("td", { class: header[place][1] }, each))))),
    ),
  );
}

// Returns the tokens of an attempt: input and output, and the parts of them that the endpoint reports.
function tokensOf([input, output, cached, stored, reasoning]) {
  if (!input && !output) return NOTHING;
  const parts = [[cached, "cached"], [stored, "stored in a cache"], [reasoning, "reasoning"]];
  const known = parts.filter(([count]) => count).map(([count, name]) => `${number(count)} ${name}`);
  const both = `${number(input)} + ${number(output)}`;
  return known.length ? [both, element("div", { class: "dim" }, known.join(", "))] : both;
}

function attemptTable(report, attempts, callName) {
  if (!attempts.length) return element("p", { class: "dim" }, "No request was sent to an endpoint.");
  const header = [["began"], ["call"], ["attempt", "number"], ["endpoint"], ["outcome"], ["took", "number"], ["tokens", "number"], ["cost", "number"], ["message"]];
  const rows = attempts.map((one) => [
    element("span", { class: "name", title: moment(report.began, one.began) }, `+${seconds(one.began)}`),
    callName(one.call),
    `${one.number}${one.repeats > 1 ? ` (× ${number(one.repeats)})` : ""}${one.hedge ? " hedge" : ""}`,
    visible(one.endpoint || "unknown"),
    element("span", { class: `state ${OUTCOMES[one.outcome] ?? "failed"}` }, visible(one.outcome).replace("_", " ")),
    seconds(one.took),
    tokensOf(one.tokens),
    one.billed ? money(one.cost) : one.outcome === "in_doubt" ? "perhaps billed" : one.outcome === "in_flight" ? NOTHING : "not billed",
    visible(one.message),
  ]);
  return tableWith("Attempts", header, rows);
}

function evidence(report, task, finding, known) {
  if (!finding.evidence?.length) return null;
  const links = finding.evidence.map((id) => [known.has(id) ? itemLink(report, task, id) : visible(id), " "]);
  return element("p", {}, element("span", { class: "dim" }, "evidence: "), links);
}

// Returns in words how a finding was scored.
function scoreOf(finding, scale) {
  if (typeof finding.score !== "number") return "no score";
  const bounds = [finding.low, finding.high].map((each) => score(each, ...scale)).join(" to ");
  const interval = typeof finding.low === "number" ? `, 90 % interval ${bounds}` : "";
  return `${score(finding.score, ...scale)}${interval}, from ${number(finding.n)} items`;
}

// Returns the prompt of a finding, and the attempts of its call.
function askedOf(report, finding, attempts) {
  if (!finding.prompt) return null;
  const own = attempts.filter((one) => one.call === finding.call);
  return element(
    "details",
    {},
    element("summary", {}, "Prompt and attempts"),
    element("pre", { tabindex: "0" }, visible(finding.prompt)),
    attemptTable(report, own, (call) => element("code", {}, call)),
  );
}

function findingCard(report, task, finding, known, attempts) {
  const column = report.tasks.columns.find((each) => each.name === finding.name && each.kind === "score");
  const scale = column ? [column.low, column.high] : [0, 1];
  const hasScore = typeof finding.score === "number";
  const flags = (finding.flags ?? []).map((flag) => element("span", { class: "label" }, visible(flag).replaceAll("_", " ")));
  return element(
    "div",
    { class: "step" },
    element(
      "div",
      { class: "heading" },
      element("h3", {}, visible(finding.name)),
      element("span", { class: "dim" }, scoreOf(finding, scale)),
    ),
    hasScore ? intervalBar(finding.score, finding.low, finding.high, scale) : null,
    finding.finding ? element("p", {}, visible(finding.finding)) : null,
    evidence(report, task, finding, known),
    flags.length ? element("p", {}, flags) : null,
    finding.note ? element("p", { class: "dim" }, visible(finding.note)) : null,
    askedOf(report, finding, attempts),
  );
}

// Returns the answers to a step, by the names of its fields.
function answersOf(table, row, step) {
  return table.columns
    .map((column, place) => ({ ...column, place }))
    .filter((column) => column.role === "output" && column.step === step.step)
    .map((column) => [column.field ?? column.name, table.at(column.place, row)])
    .filter(([, given]) => given !== null && given !== undefined)
    .map(([name, given]) => [name, value(given)]);
}

function stepCard(report, table, row, step, attempts) {
  const known = report.index.steps.find((each) => each.name === step.step);
  const answers = answersOf(table, row, step);
  const files = (step.files ?? []).map((file) => element("p", {}, element("span", { class: "dim" }, "file: "), visible(file)));
  const asked = [
    known?.system ? longText("System", known.system) : null,
    step.prompt ? longText("Prompt", step.prompt) : null,
    files,
  ];
  const answered = [
    answers.length ? [element("p", { class: "tag" }, "Answer"), pairs(answers)] : null,
    step.raw ? longText("Text of the answer", asText(step.raw)) : null,
  ];
  const own = attempts.filter((one) => step.call && one.call === step.call);
  return element(
    "div",
    { class: "step" },
    element("h3", {}, visible(step.step), " ", step.call ? element("code", { class: "dim" }, step.call) : null),
    step.note ? element("p", { class: "note" }, visible(step.note)) : null,
    element("div", { class: "flow" }, element("div", {}, asked), element("div", {}, answered)),
    own.length || report.isMap ? attemptTable(report, own, (call) => element("code", {}, call)) : null,
  );
}

// Returns the prompts and answers of the steps of an item.
function stepCards(report, table, row, steps, attempts) {
  return steps.map((step) => stepCard(report, table, row, step, attempts));
}

function crumbs(report, view, row, back, label) {
  const order = view.order ?? Array.from({ length: view.table.count }, (_, place) => place);
  const place = order.indexOf(row);
  const address = (other) =>
    view.table === report.tasks
      ? `#/task/${encoded(report.keyOf(other))}`
      : `#/item/${encoded(report.keyOf(report.taskOf(other)))}/${encoded(report.items.get("item", other))}`;
  const step = (by, text, id) => {
    const other = order[place + by];
    return button(text, { id, disabled: place < 0 || other === undefined }, () => {
      location.hash = address(other);
    });
  };
  return element(
    "div",
    { class: "crumbs" },
    element("a", { href: back, id: "back" }, `← ${label}`),
    element("span", { class: "spacer" }),
    place >= 0 ? element("span", { class: "dim" }, `${number(place + 1)} of ${number(order.length)}`) : null,
    step(-1, "← Previous", "previous"),
    step(1, "Next →", "next"),
  );
}

async function taskDetail(report, task, view, back) {
  const history = await report.histories.of(task);
  const attempts = attemptsOf(report, history);
  const rows = report.itemsOf(task);
  const ids = rows.map((row) => report.items.get("item", row));
  const known = new Set(ids);
  const calls = new Map();
  (history.asked ?? []).forEach((steps, place) =>
    steps.forEach((step) => step.call && calls.set(step.call, [ids[place], step.step])),
  );
  (history.findings ?? []).forEach((finding) => finding.call && calls.set(finding.call, [null, finding.name]));
  const callName = (call) => {
    const [item, step] = calls.get(call) ?? [];
    const code = element("code", { class: "dim", title: call }, visible(call).slice(0, 6));
    return step === undefined ? code : [item ? itemLink(report, task, item) : null, ` ${visible(step)} `, code];
  };
  const get = (name) => (report.tasks.place(name) < 0 ? null : report.tasks.get(name, task));
  const error = get("error");
  const overall = get("overall");
  return element(
    "div",
    { class: "detail" },
    crumbs(report, view, task, back, report.isMap ? "Rows" : "Tasks"),
    element("h1", {}, visible(report.keyOf(task))),
    element("p", {}, stateOf(get("state")), overall === null ? "" : ` · overall ${score(overall)}`),
    error ? element("p", { class: "error" }, visible(error)) : null,
    pairs([
      ["accepted", moment(report.began, history.accepted)],
      ["ended", history.ended === undefined ? "not yet" : `${moment(report.began, history.ended)}, after ${seconds(history.ended - history.accepted)}`],
      ["cost", get("state") === "open" ? null : money(get("cost"))],
      ...(history.again ?? []).map(([at, state]) => ["reopened", `${moment(report.began, at)}; it was ${visible(state)}`]),
      ...(history.sources ?? []).map(([name, items, failure]) => [`source ${visible(name)}`, failure ? visible(failure) : `${number(items)} items`]),
    ]),
    history.params ? block("Input", pairs(Object.entries(history.params).map(([name, given]) => [name, value(given)]))) : null,
    history.findings?.length ? block("Findings", element("div", { class: "pair" }, history.findings.map((one) => findingCard(report, task, one, known, attempts)))) : null,
    report.isMap ? block("Prompt and answer", stepCards(report, report.tasks, task, history.asked?.[0] ?? [], attempts)) : null,
    rows.length ? block("Items", itemsOfTask(report, rows)) : null,
    report.isMap && attempts.every((one) => calls.has(one.call)) ? null : block("Attempts", attemptTable(report, attempts, callName)),
    element("p", { class: "dim" }, "The same facts in a terminal: ", element("code", {}, `${report.index.program} why ${report.index.run} ${visible(report.keyOf(task))}`)),
  );
}

function itemsOfTask(report, rows) {
  const table = report.items;
  const columns = table.columns
    .map((column, place) => ({ ...column, place }))
    .filter((column) => column.kind !== "task" && rows.some((row) => (table.at(column.place, row) ?? "") !== ""));
  const header = columns.map((column) => [visible(column.name), RIGHT.has(column.kind) ? "number" : null]);
  const cells = rows.map((row) => columns.map((column) => content(report, table, column, row, table.at(column.place, row), [])));
  return tableWith("Items", header, cells);
}

async function itemDetail(report, row, view, back) {
  const task = report.taskOf(row);
  const history = await report.histories.of(task);
  const place = row - report.tasks.get("first item", task);
  const attempts = attemptsOf(report, history);
  const error = report.items.get("error", row);
  const text = history.texts?.[place];
  const cited = (history.findings ?? []).filter((one) => one.evidence?.includes(report.items.get("item", row)));
  return element(
    "div",
    { class: "detail" },
    crumbs(report, view, row, back, "Items"),
    element("h1", {}, visible(report.items.get("item", row))),
    element("p", {}, stateOf(report.items.get("state", row)), " · of ", taskLink(report, task), ` · ${money(report.items.get("cost", row))}`),
    error ? element("p", { class: "error" }, visible(error)) : null,
    cited.length ? element("p", {}, element("span", { class: "dim" }, "evidence of: "), cited.map((one) => element("span", { class: "label" }, visible(one.name)))) : null,
    text ? block("Text", element("pre", { tabindex: "0" }, visible(text))) : null,
    block("Prompt and answer", stepCards(report, report.items, row, history.asked?.[place] ?? [], attempts)),
  );
}
