// Plots how the run went over time. Lines differ in colour, in width and in their dashes.

const DRAWN = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function clock(value) {
  const whole = Math.round(value);
  const rest = String(whole % 60).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${rest}`;
  return `${Math.floor(whole / 3600)}:${String(Math.floor(whole / 60) % 60).padStart(2, "0")}`;
}

function flightSpec(series) {
  const lines = [["in flight", series.in_flight, "--bar", []]];
  return { title: "In flight", unit: "attempts", lines, format: number };
}

// The limit of an endpoint, what is below it, and when refusals cut it.
function limitSpec(limit) {
  return {
    title: `In flight at ${visible(limit.name)}`,
    unit: "attempts, and their limit",
    times: limit.t,
    lines: [
      ["in flight", limit.in_flight, "--bar", []],
      ["limit", limit.limit, "--text", [8, 4]],
    ],
    strikes: limit.t.filter((_, place) => limit.cuts[place] > 0),
    cuts: limit.cuts.reduce((sum, cuts) => sum + (cuts ?? 0), 0),
    format: number,
  };
}

// Draws a mark at the top of the plot for each time at which the limit was cut.
function strikesPlugin(times) {
  const draw = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("--failed");
    for (const time of times) {
      const at = plot.valToPos(time, "x", true);
      const size = 5 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(at - size, bbox.top);
      ctx.lineTo(at + size, bbox.top);
      ctx.lineTo(at, bbox.top + 1.6 * size);
      ctx.fill();
    }
    ctx.restore();
  };
  return { hooks: { draw } };
}

function plotSpecs(series, limits) {
  const plots = [
    {
      title: "Throughput",
      unit: "attempts per second",
      lines: [
        ["answered", series.answered, "--bar", []],
        ["refused", series.refused, "--partial", [6, 4]],
        ["failed", series.failed, "--failed", [2, 3]],
      ],
      format: number,
    },
    ...(limits.length ? limits.map(limitSpec) : [flightSpec(series)]),
    {
      title: "Latency of answers",
      unit: "by the time of the answer",
      lines: [
        ["p50", series.p50, "--bar", []],
        ["p95", series.p95, "--partial", [6, 4]],
      ],
      format: seconds,
    },
  ];
  return plots.map((plot) => ({
    ...plot,
    lines: plot.lines.filter(([, values], place) => place === 0 || values.some((value) => value > 0)),
  }));
}

// Few values are points too: a line would not show one without a neighbour.
function isSparse(values) {
  return values.filter((value) => value !== null && value !== undefined).length < values.length * 0.6;
}

function plotOptions(spec, width, sync) {
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    width,
    height: 200,
    plugins: spec.strikes?.length ? [strikesPlugin(spec.strikes)] : [],
    cursor: { sync: { key: sync }, points: { size: 6 }, drag: { x: true, y: false } },
    legend: { live: true },
    scales: { x: { time: false }, y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, values: (_plot, ticks) => ticks.map(clock), size: 34 },
      { ...axis, values: (_plot, ticks) => ticks.map(spec.format), size: 62 },
    ],
    series: [
      { label: "time", value: (_plot, value) => (value === null ? NOTHING : clock(value)) },
      ...spec.lines.map(([label, values, stroke, dash], place) => ({
        label,
        stroke: colour(stroke),
        width: place === 0 ? 2 : 1.75,
        dash,
        points: { show: isSparse(values), size: 4 },
        value: (_plot, value) => (value === null || value === undefined ? NOTHING : spec.format(value)),
      })),
    ],
  };
}

function peak(spec) {
  return spec.lines
    .map(([label, values]) => `${label} up to ${spec.format(Math.max(0, ...values.map((value) => value ?? 0)))}`)
    .join(", ");
}

function drawPlots(container, series, limits) {
  container.replaceChildren();
  DRAWN.splice(0).forEach((plot) => plot.destroy());
  if (!series.t.length || !series.answered.some((value) => value)) return;
  container.hidden = false;
  for (const spec of plotSpecs(series, limits)) {
    const place = element("div", { class: "plot", role: "img", "aria-label": `${spec.title}: ${peak(spec)}` });
    container.append(
      element(
        "figure",
        { class: "card" },
        element("figcaption", {}, element("b", {}, spec.title), element("span", { class: "dim" }, spec.unit)),
        place,
        spec.strikes?.length
          ? element("p", { class: "dim" }, element("span", { class: "strike" }, "▼"), spec.cuts === 1 ? " the limit was cut once" : ` the limit was cut ${number(spec.cuts)} times`)
          : null,
      ),
    );
    const data = [spec.times ?? series.t, ...spec.lines.map(([, values]) => values)];
    const plot = new uPlot(plotOptions(spec, Math.max(place.clientWidth, 200), "run"), data, place);
    DRAWN.push(plot);
    new ResizeObserver(() => {
      const width = Math.floor(place.clientWidth);
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: 200 });
    }).observe(place);
  }
}

function plotAgainWhenColoursChange(container, series, limits) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawPlots(container, series, limits));
}
