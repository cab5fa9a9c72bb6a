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
    ? { color: colorOf(line.concept, 0.7), width: 1.25, band: false }
    : { color: colorOf(line.concept), width, band: Boolean(line.lo), fill: colorOf(line.concept, 0.14) };
}

/** All lines of a chart with their looks and runs; those of the runs beside come first, so that they lie below. */
function linesOf(makeLines) {
  const of = (run, isBeside) =>
    makeLines(run, selection)
      .filter((line) => (line.control ? !isBeside && line.concept === null : isShown(line)))
      .map((line) => ({ ...line, run, look: lookOf(line, isBeside) }));
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

const FONT = "system-ui, 'DejaVu Sans', sans-serif";
/** Distances between ticks that are whole numbers. */
const WHOLE = [1, 10, 100, 1000, 1e4, 1e5, 1e6].flatMap((power) => [power, 2 * power, 5 * power]);
const inThousands = (plot, splits) => splits.map((split) => (splits.at(-1) >= 10000 && split ? `${split / 1000}k` : String(split)));

function axis(label, size, more = {}) {
  const common = { stroke: paint("soft"), font: `13px ${FONT}`, labelFont: `13px ${FONT}`, label, size, labelSize: 20 };
  return { ...common, grid: { stroke: paint("grid"), width: 1 }, ticks: { stroke: paint("grid"), width: 1, size: 5 }, ...more };
}

/** What a level is called in the margin; what its name says more stands in the table. */
const shortName = ({ name }) => name.split(/ \(|,/)[0];

/** The margin that the names of levels take, the same for both charts, so that their steps lie above each other. */
function marginFor(levels) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `12px ${FONT}`;
  return 16 + Math.max(...levels.map((level) => pen.measureText(shortName(level)).width));
}

/** A chart in the element `name`: `{lines, levels, margin, range, xTitle, yTitle, mark(), choose(x)}`. */
function drawCurves(name, chart) {
  const place = element(name);
  plots[name]?.destroy();
  const { data, series, bands } = seriesOf(chart.lines);
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [10, chart.margin, 0, 0],
    series,
    bands,
    scales: { x: { time: false }, y: { range: () => chart.range } },
    axes: [axis(chart.xTitle, 34, { incrs: WHOLE, values: inThousands }), axis(chart.yTitle, 46)],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
    hooks: { draw: [(plot) => drawLevels(plot, chart.levels), (plot) => drawMarkLine(plot, chart.mark())], setCursor: [(plot) => pointOnCurve(plot, chart)] },
  };
  plots[name] = new uPlot(options, data, place);
  plots[name].over.append(curveTip(name));
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

function drawLevels(plot, levels) {
  withPen(plot, (pen, ratio) => {
    pen.strokeStyle = paint("soft");
    pen.lineWidth = 1.25 * ratio;
    pen.setLineDash([6 * ratio, 4 * ratio]);
    pen.beginPath();
    for (const { value } of levels) {
      pen.moveTo(plot.bbox.left, plot.valToPos(value, "y", true));
      pen.lineTo(plot.bbox.left + plot.bbox.width, plot.valToPos(value, "y", true));
    }
    pen.stroke();
  });
  nameLevels(plot, levels);
}

/** Names every level in the margin behind it; a name that would touch the one below it is raised. */
function nameLevels({ ctx: pen, bbox, valToPos }, levels) {
  const ratio = devicePixelRatio;
  pen.save();
  pen.font = `${12 * ratio}px ${FONT}`;
  pen.fillStyle = paint("soft");
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  let height = Infinity;
  for (const level of [...levels].sort((a, b) => a.value - b.value)) {
    height = Math.min(valToPos(level.value, "y", true), height - 15 * ratio);
    pen.fillText(shortName(level), bbox.left + bbox.width + 8 * ratio, height);
  }
  pen.restore();
}

function pointOnCurve(plot, chart) {
  const index = plot.cursor.left >= 0 ? plot.cursor.idx : null;
  const found = index === null || index === undefined ? null : { chart: chart.name, x: plot.data[0][index] };
  const isSame = found?.x === pointed?.x && found?.chart === pointed?.chart;
  pointed = found;
  if (!isSame) drawReadout();
  showCurve(plot, chart);
}

/** The place where the curve under the pointer is named. */
function curveTip(name) {
  const tip = document.createElement("div");
  tip.id = `${name}-tip`;
  tip.className = "tip";
  tip.hidden = true;
  return tip;
}

/** Names the curve that is nearest to the pointer, with its value there and the interval. */
function showCurve(plot, chart) {
  const tip = element(`${chart.name}-tip`);
  // The library says where the pointer is before the chart is in the page, too.
  if (!tip) return;
  const line = pointed && nearestLine(plot, chart.lines, pointed.x);
  tip.hidden = !line;
  if (!line) return;
  const rows = [lineName(line), pointedInWords(line.run), valueAt(line, pointed.x)];
  tip.replaceChildren(...rows.map((text) => cell("div", text)));
  if (line.concept !== null) tip.firstChild.prepend(markOf(line.concept), " ");
  const { left, top } = plot.cursor;
  const isRight = left > plot.over.clientWidth / 2;
  tip.style.left = `${isRight ? left - tip.offsetWidth - 12 : left + 12}px`;
  tip.style.top = `${Math.max(top - tip.offsetHeight - 12, 0)}px`;
}

/** Of the lines that have a value at `x`, the one whose value is nearest to the pointer. */
function nearestLine(plot, lines, x) {
  const value = (line) => line.mean[line.x.indexOf(x)] ?? null;
  const away = (line) => Math.abs(plot.valToPos(value(line), "y") - plot.cursor.top);
  return lines.filter((line) => value(line) !== null).sort((a, b) => away(a) - away(b))[0];
}
