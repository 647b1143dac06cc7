// Plots the history of the endpoints, which the service keeps.

// Adds the columns of several endpoints. A column that this caller may not see is missing.
function summed(endpoints, of) {
  const columns = endpoints.map(of).filter(Boolean);
  if (!columns.length) return null;
  return columns[0].map((_, index) => columns.reduce((total, column) => total + column[index], 0));
}

// Returns the values of the points, with a hole where no dispatcher was running.
function withGaps(history, values) {
  const gaps = new Set(history.gaps);
  return values.flatMap((value, place) => (gaps.has(place) ? [null, value] : [value]));
}

function timesOf(history) {
  const gaps = new Set(history.gaps);
  return history.at.flatMap((at, place) => {
    const middle = (at + history.until[place]) / 2;
    return gaps.has(place) ? [(at + history.until[place - 1]) / 2, middle] : [middle];
  });
}

function historySpecs(history, endpoints) {
  const rate = (name) => {
    const counts = summed(endpoints, (each) => each[name]);
    return counts && counts.map((count, index) => (history.active_s[index] ? count / history.active_s[index] : 0));
  };
  const failed = rate("failed");
  const doubtful = rate("in_doubt");
  const specs = [
    {
      title: "Limit and attempts in flight",
      unit: "attempts",
      lines: [
        ["in flight", summed(endpoints, (each) => each.in_flight.mean), "--bar", []],
        ["limit", summed(endpoints, (each) => each.limit.mean), "--text", [8, 4]],
      ],
      cuts: withGaps(history, summed(endpoints, (each) => each.cuts)),
    },
    {
      title: "Attempts that ended",
      unit: "per second",
      lines: [
        ["answered", rate("answered"), "--bar", []],
        ["refused", rate("refused"), "--partial", [6, 4]],
        ["failed", failed && failed.map((value, index) => value + doubtful[index]), "--failed", [2, 3]],
      ],
    },
    {
      title: "Queue",
      unit: "calls that wait",
      lines: [["queued", summed(endpoints, (each) => each.queued && each.queued.mean), "--bar", []]],
    },
  ];
  const times = timesOf(history);
  return specs
    .map((spec) => {
      const lines = spec.lines.filter(([, values]) => values);
      return {
        ...spec,
        times,
        format: number,
        lines: lines.map(([label, values, stroke, dash]) => [label, withGaps(history, values), stroke, dash]),
      };
    })
    .filter((spec) => spec.lines.length);
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

const historyPlots = new Plots(byId("plots"), DATES);
let shownHistory = null;

function showHistory(history) {
  shownHistory = history;
  if (!history.at.length) return;
  const endpoints = chosenEndpoints(history);
  byId("history-note").textContent = historyInWords(history, endpoints);
  historyPlots.show(historySpecs(history, endpoints));
}

byId("endpoint").addEventListener("change", () => shownHistory && showHistory(shownHistory));
