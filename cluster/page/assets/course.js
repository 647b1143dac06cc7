// The plots of how the run went over time.

function flightSpec(series) {
  const lines = [["in flight", series.in_flight, "--bar", []]];
  return { title: "In flight", unit: "attempts", times: series.t, lines, format: number };
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
    cuts: limit.cuts,
    format: number,
  };
}

function courseSpecs(series, limits) {
  if (!series.answered.some((value) => value)) return [];
  const plots = [
    {
      title: "Throughput",
      unit: "attempts per second",
      times: series.t,
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
      times: series.t,
      lines: [
        ["p50", series.p50, "--bar", []],
        ["p95", series.p95, "--partial", [6, 4]],
      ],
      format: seconds,
      axisFormat: secondsOfAxis,
    },
  ];
  return plots.map((plot) => ({
    ...plot,
    lines: plot.lines.filter(([, values], place) => place === 0 || values.some((value) => value > 0)),
  }));
}
