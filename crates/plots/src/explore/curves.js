// Curves with their intervals, and a cursor at what is shown.

const plots = {};
const HEIGHT = 270;
/** Where the pointer is on a curve; null where it is on none. */
let pointed = null;

const isShown = (line) => line.concept === null || !selection.hidden.has(line.concept);

/** What a line looks like: concepts in colour, controls in grey dashes, other runs thin and without a band. */
function lookOf(line, isBeside) {
  if (line.control) return { color: paint("line"), width: 1.5, dash: [3, 4], band: false };
  const width = line.concept === null ? 2.5 : 1.75;
  return isBeside
    ? { color: colorOf(line.concept, 0.55), width: 1, band: false }
    : { color: colorOf(line.concept), width, band: Boolean(line.lo), fill: colorOf(line.concept, 0.14) };
}

/** All lines of a chart with their looks; those of the runs beside come first, so that they lie below. */
function linesOf(makeLines) {
  const of = (run, isBeside) =>
    makeLines(run, selection)
      .filter((line) => (line.control ? !isBeside && line.concept === null : isShown(line)))
      .map((line) => ({ ...line, look: lookOf(line, isBeside) }));
  const alike = [...selection.beside].map((index) => RUNS[index]).filter((run) => run.over_layers === chosenRun().over_layers);
  return [...alike.flatMap((run) => of(run, true)), ...of(chosenRun(), false)];
}

/** Lines as the library wants them: one table over the x of all of them, a series each, bands between ends. */
function seriesOf(lines) {
  const tables = lines.map((line) => [line.x, line.mean, ...(line.look.band ? [line.hi, line.lo] : [])]);
  const [series, bands] = [[{}], []];
  for (const { look } of lines) {
    series.push({ stroke: look.color, width: look.width, dash: look.dash, points: { show: false }, spanGaps: true });
    if (!look.band) continue;
    const hidden = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
    bands.push({ series: [series.length, series.length + 1], fill: look.fill });
    series.push(hidden, { ...hidden });
  }
  return { data: tables.length ? uPlot.join(tables) : [[0], []], series, bands };
}

const inThousands = (value) => (value >= 10000 ? `${value / 1000}k` : String(value));
const wholeNumbers = (plot, splits) => splits.map((split) => (Number.isInteger(split) ? inThousands(split) : ""));

function axis(label, values, size) {
  const type = "13px system-ui, 'DejaVu Sans', sans-serif";
  const common = { stroke: paint("soft"), font: type, labelFont: type, label, values, size, labelSize: 20 };
  return { ...common, grid: { stroke: paint("grid"), width: 1 }, ticks: { stroke: paint("grid"), width: 1, size: 5 } };
}

/** A chart in the element `name`: `{lines, levels, range, xTitle, yTitle, mark(), choose(x)}`. */
function drawCurves(name, chart) {
  const place = element(name);
  plots[name]?.destroy();
  const { data, series, bands } = seriesOf(chart.lines);
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    series,
    bands,
    scales: { x: { time: false }, y: { range: () => chart.range } },
    axes: [axis(chart.xTitle, wholeNumbers, 34), axis(chart.yTitle, undefined, 46)],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
    hooks: { draw: [(plot) => drawLevels(plot, chart.levels), (plot) => drawMarkLine(plot, chart.mark())], setCursor: [(plot) => pointOnCurve(plot, chart)] },
  };
  plots[name] = new uPlot(options, data, place);
  plots[name].over.addEventListener("click", () => {
    const index = plots[name].cursor.idx;
    if (index !== null && index !== undefined) chart.choose(plots[name].data[0][index]);
  });
  place.setAttribute("aria-label", chart.title);
}

function withPen(plot, draw) {
  const [pen, ratio] = [plot.ctx, devicePixelRatio];
  pen.save();
  pen.beginPath();
  pen.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  pen.clip();
  draw(pen, ratio);
  pen.restore();
}

function drawMarkLine(plot, x) {
  withPen(plot, (pen, ratio) => {
    const left = plot.valToPos(x, "x", true);
    pen.strokeStyle = paint("accent");
    pen.lineWidth = 2 * ratio;
    pen.setLineDash([]);
    pen.beginPath();
    pen.moveTo(left, plot.bbox.top);
    pen.lineTo(left, plot.bbox.top + plot.bbox.height);
    pen.stroke();
  });
}

/** Dashed levels, each with its name above its right end; a name that would touch the one below it is raised. */
function drawLevels(plot, levels) {
  withPen(plot, (pen, ratio) => {
    pen.font = `${12 * ratio}px system-ui, 'DejaVu Sans', sans-serif`;
    pen.textAlign = "right";
    const right = plot.bbox.left + plot.bbox.width;
    const sorted = [...levels].sort((a, b) => a.value - b.value);
    const height = ({ value }) => plot.valToPos(value, "y", true);
    pen.strokeStyle = pen.fillStyle = paint("soft");
    pen.lineWidth = 1.25 * ratio;
    pen.setLineDash([6 * ratio, 4 * ratio]);
    pen.beginPath();
    for (const level of sorted) {
      pen.moveTo(plot.bbox.left, height(level));
      pen.lineTo(right, height(level));
    }
    pen.stroke();
    pen.setLineDash([]);
    pen.strokeStyle = paint("paper");
    pen.lineWidth = 4 * ratio;
    let top = Infinity;
    for (const level of sorted) {
      top = Math.min(height(level) - 5 * ratio, top - 15 * ratio);
      pen.strokeText(level.name, right - 6 * ratio, top);
      pen.fillText(level.name, right - 6 * ratio, top);
    }
  });
}

function pointOnCurve(plot, chart) {
  const index = plot.cursor.left >= 0 ? plot.cursor.idx : null;
  const found = index === null || index === undefined ? null : { chart: chart.name, x: plot.data[0][index] };
  if (found?.x === pointed?.x && found?.chart === pointed?.chart) return;
  pointed = found;
  drawReadout();
}
