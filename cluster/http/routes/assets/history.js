// Plots the history of the endpoints, which the service keeps. Lines differ in colour, in width and in dashes.

const GAP_S = 2;
const drawn = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Adds the columns of several endpoints. A column that this caller may not see is missing.
function summed(endpoints, of) {
  const columns = endpoints.map(of).filter(Boolean);
  if (!columns.length) return null;
  return columns[0].map((_, index) => columns.reduce((total, column) => total + column[index], 0));
}

// Returns the times and the columns with a hole where no dispatcher was running.
function withGaps(history, columns) {
  const times = [];
  const cells = columns.map(() => []);
  history.at.forEach((at, index) => {
    if (index && at - history.until[index - 1] > GAP_S) {
      times.push((at + history.until[index - 1]) / 2);
      cells.forEach((column) => column.push(null));
    }
    times.push((at + history.until[index]) / 2);
    cells.forEach((column, place) => column.push(columns[place][index]));
  });
  return [times, ...cells];
}

function plotSpecs(history, endpoints) {
  const rate = (name) => {
    const counts = summed(endpoints, (each) => each[name]);
    return counts && counts.map((count, index) => (history.active_s[index] ? count / history.active_s[index] : 0));
  };
  const limit = summed(endpoints, (each) => each.limit.mean);
  const cuts = summed(endpoints, (each) => each.cuts);
  const queued = summed(endpoints, (each) => each.queued && each.queued.mean);
  const failed = rate("failed");
  const doubtful = rate("in_doubt");
  const specs = [
    {
      title: "Limit and attempts in flight",
      unit: "attempts",
      lines: [
        ["limit", limit, "--limit", []],
        ["in flight", summed(endpoints, (each) => each.in_flight.mean), "--answered", [6, 4]],
        ["limit cut", limit.map((value, index) => (cuts[index] ? value : null)), "--failed", null],
      ],
    },
    {
      title: "Attempts that ended",
      unit: "per second",
      lines: [
        ["answered", rate("answered"), "--answered", []],
        ["refused", rate("refused"), "--partial", [6, 4]],
        ["failed", failed && failed.map((value, index) => value + doubtful[index]), "--failed", [2, 3]],
      ],
    },
    { title: "Queue", unit: "calls that wait", lines: [["queued", queued, "--answered", []]] },
  ];
  return specs
    .map((spec) => ({ ...spec, lines: spec.lines.filter(([, values]) => values) }))
    .filter((spec) => spec.lines.length);
}

function plotOptions(spec, width) {
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    width,
    height: 190,
    cursor: { sync: { key: "history" }, points: { size: 6 }, drag: { x: true, y: false } },
    scales: { y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, size: 34 },
      { ...axis, size: 52, values: (_plot, ticks) => ticks.map(number) },
    ],
    series: [
      { label: "time", value: (_plot, at) => (at ? new Date(at * 1000).toLocaleTimeString() : NOTHING) },
      ...spec.lines.map(([label, , stroke, dash]) => ({
        label,
        stroke: dash ? colour(stroke) : undefined,
        width: dash ? 1.8 : 0,
        dash: dash || [],
        points: dash ? { show: false } : { show: true, size: 8, stroke: colour(stroke), fill: colour(stroke) },
        value: (_plot, value) =>
          value === null || value === undefined ? NOTHING : number(Math.round(value * 10) / 10),
      })),
    ],
  };
}

function describe(spec) {
  const most = (values) => number(Math.round(Math.max(0, ...values.map((value) => value ?? 0)) * 10) / 10);
  return `${spec.title}: ${spec.lines.map(([label, values]) => `${label} up to ${most(values)}`).join(", ")}`;
}

// Returns in words what the plots show: what slowed the run down.
function historyInWords(history, endpoints) {
  const total = (of) => (summed(endpoints, of) || []).reduce((sum, count) => sum + count, 0);
  const limits = summed(endpoints, (each) => each.limit.most);
  const lows = summed(endpoints, (each) => each.limit.least);
  const span = seconds(history.until.at(-1) - history.at[0]);
  const parts = [`${span} in ${number(history.at.length)} points`];
  parts.push(
    `limit ${number(limits.at(-1))} now, ${number(Math.min(...lows))} to ${number(Math.max(...limits))} so far`,
  );
  const refused = total((each) => each.refused);
  parts.push(refused ? `${number(refused)} refusals cut it ${number(total((each) => each.cuts))} times` : "no refusal");
  if (endpoints[0].failed) parts.push(`${number(total((each) => each.failed))} failed attempts`);
  const doubtful = endpoints[0].in_doubt ? total((each) => each.in_doubt) : 0;
  if (doubtful) parts.push(`${number(doubtful)} in doubt`);
  return parts.join(" · ");
}

function forgetPlots() {
  drawn.splice(0).forEach((each) => {
    each.watch.disconnect();
    each.plot.destroy();
  });
}

function drawAnew(specs, container, history) {
  forgetPlots();
  container.replaceChildren();
  for (const spec of specs) {
    const place = element("div", { role: "img" });
    const caption = element(
      "figcaption",
      {},
      element("b", {}, spec.title),
      element("span", { class: "dim" }, spec.unit),
    );
    container.append(element("figure", {}, caption, place));
    const data = withGaps(
      history,
      spec.lines.map(([, values]) => values),
    );
    const plot = new uPlot(plotOptions(spec, Math.max(place.clientWidth, 200)), data, place);
    const watch = new ResizeObserver(() => {
      const width = Math.floor(place.clientWidth);
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: 190 });
    });
    watch.observe(place);
    drawn.push({ plot, place, watch, title: spec.title });
  }
}

function chosenEndpoints(history) {
  const select = byId("endpoint");
  const names = history.endpoints.map((each) => each.name);
  if (select.options.length !== names.length + 1) {
    select.replaceChildren(
      element("option", { value: "" }, "all"),
      ...names.map((name) => element("option", {}, name)),
    );
    byId("endpoint-label").hidden = names.length < 2;
  }
  return history.endpoints.filter((each) => !select.value || each.name === select.value);
}

let shownHistory = null;

function showHistory(history) {
  shownHistory = history;
  if (!history.at.length) return;
  const endpoints = chosenEndpoints(history);
  const specs = plotSpecs(history, endpoints);
  byId("history-note").textContent = historyInWords(history, endpoints);
  if (drawn.length !== specs.length) drawAnew(specs, byId("plots"), history);
  specs.forEach((spec, index) => {
    drawn[index].plot.setData(
      withGaps(
        history,
        spec.lines.map(([, values]) => values),
      ),
    );
    drawn[index].place.setAttribute("aria-label", describe(spec));
  });
}

function redrawHistory() {
  forgetPlots();
  if (shownHistory) showHistory(shownHistory);
}

byId("endpoint").addEventListener("change", redrawHistory);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawHistory);
