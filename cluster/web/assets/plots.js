// Plots values over time. Lines differ in colour, in width and in their dashes.
//
// A plot is given as { title, unit, times, lines, format, axisFormat, cuts }. Each line is a label, its values, the
// name of a colour, and dashes. `format` makes a text of a value. `axisFormat(last)`, if given, returns the format of
// an axis that ends at `last`. `cuts` has, for each time, how often a limit was cut then.

const PLOT_HEIGHT = 200;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
const SECOND_STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
const CLOCK_STEPS = [1, 2, 5, 10, 15, 30].map((each) => each * MINUTE);
const LONG_STEPS = [...[1, 2, 3, 6, 12].map((each) => each * HOUR), ...[1, 2, 5, 10, 30, 100].map((each) => each * DAY)];

// The axes of times: seconds since a beginning, and dates.
const SINCE_BEGINNING = {
  scale: { time: false },
  axis: {
    incrs: [...SECOND_STEPS, ...CLOCK_STEPS, ...LONG_STEPS],
    values: (_plot, ticks) => ticks.map(secondsOfAxis(ticks.at(-1))),
  },
  text: seconds,
};
const DATES = { scale: { time: true }, axis: {}, text: (at) => new Date(at * 1000).toLocaleTimeString() };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Draws a mark at the top of the plot for each time at which the limit was cut.
function cutsPlugin(timesOfCuts) {
  const draw = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("--failed");
    for (const time of timesOfCuts()) {
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

// Few values are points too: a line would not show one without a neighbour.
function isSparse(values) {
  return values.filter((value) => value !== null && value !== undefined).length < values.length * 0.6;
}

function plotOptions(spec, width, time, plugins) {
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const valuesOf = (ticks) => ticks.map(spec.axisFormat ? spec.axisFormat(ticks.at(-1)) : spec.format);
  const shown = (value, format) => (value === null || value === undefined ? NOTHING : format(value));
  return {
    width,
    height: PLOT_HEIGHT,
    plugins,
    cursor: { sync: { key: "plots" }, points: { size: 6 }, drag: { x: true, y: false } },
    legend: { live: true },
    scales: { x: time.scale, y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, ...time.axis, size: 34 },
      { ...axis, values: (_plot, ticks) => valuesOf(ticks), size: 62 },
    ],
    series: [
      { label: "time", value: (_plot, value) => shown(value, time.text) },
      ...spec.lines.map(([label, values, stroke, dash], place) => ({
        label,
        stroke: colour(stroke),
        width: place === 0 ? 2 : 1.75,
        dash,
        points: { show: isSparse(values), size: 4 },
        value: (_plot, value) => shown(value, spec.format),
      })),
    ],
  };
}

function inWords(spec) {
  const most = (values) => spec.format(Math.max(0, ...values.map((value) => value ?? 0)));
  return `${spec.title}: ${spec.lines.map(([label, values]) => `${label} up to ${most(values)}`).join(", ")}`;
}

function cutsNote(cuts) {
  const count = (cuts ?? []).reduce((sum, each) => sum + (each ?? 0), 0);
  if (!count) return [];
  const times = count === 1 ? "once" : `${number(count)} times`;
  return [element("span", { class: "strike" }, "▼"), ` the limit was cut ${times}`];
}

// One plot in its figure.
class DrawnPlot {
  constructor(container, spec, time) {
    this.place = element("div", { class: "plot", role: "img" });
    this.note = element("p", { class: "dim" });
    this.spec = spec;
    const unit = element("span", { class: "dim" }, spec.unit);
    const caption = element("figcaption", {}, element("b", {}, spec.title), unit);
    container.append(element("figure", { class: "card" }, caption, this.place, this.note));
    const plugin = cutsPlugin(() => this.spec.times.filter((_, place) => this.spec.cuts?.[place] > 0));
    const options = plotOptions(spec, Math.max(this.place.clientWidth, 200), time, [plugin]);
    this.plot = new uPlot(options, this.data, this.place);
    this.watch = new ResizeObserver(() => {
      const width = Math.floor(this.place.clientWidth);
      if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: PLOT_HEIGHT });
    });
    this.watch.observe(this.place);
    this.describe();
  }

  get data() {
    return [this.spec.times, ...this.spec.lines.map(([, values]) => values)];
  }

  hasLinesOf(spec) {
    return String(spec.lines.map(([label]) => label)) === String(this.spec.lines.map(([label]) => label));
  }

  update(spec) {
    this.spec = spec;
    this.plot.setData(this.data);
    this.describe();
  }

  describe() {
    this.place.setAttribute("aria-label", inWords(this.spec));
    this.note.replaceChildren(...cutsNote(this.spec.cuts));
  }

  end() {
    this.watch.disconnect();
    this.plot.destroy();
  }
}

// The plots of a page. They share a cursor, and follow the colours of the browser.
class Plots {
  constructor(container, time) {
    this.container = container;
    this.time = time;
    this.specs = [];
    this.drawn = [];
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.drawAnew(this.specs));
  }

  show(specs) {
    const isSame = specs.length === this.drawn.length && this.drawn.every((each, place) => each.hasLinesOf(specs[place]));
    if (isSame) this.drawn.forEach((each, place) => each.update(specs[place]));
    else this.drawAnew(specs);
    this.specs = specs;
  }

  drawAnew(specs) {
    this.drawn.forEach((each) => each.end());
    this.container.replaceChildren();
    this.drawn = specs.map((spec) => new DrawnPlot(this.container, spec, this.time));
  }
}
