// The states as points: one mark and one colour for each concept.

const SIZE = 3.5;
const MARKS = [
  (pen, x, y) => pen.arc(x, y, SIZE, 0, 2 * Math.PI),
  (pen, x, y) => pen.rect(x - SIZE, y - SIZE, 2 * SIZE, 2 * SIZE),
  (pen, x, y) => polygon(pen, [[x, y - 1.3 * SIZE], [x + 1.2 * SIZE, y + SIZE], [x - 1.2 * SIZE, y + SIZE]]),
  (pen, x, y) => polygon(pen, [[x, y - 1.4 * SIZE], [x + 1.4 * SIZE, y], [x, y + 1.4 * SIZE], [x - 1.4 * SIZE, y]]),
  (pen, x, y) => polygon(pen, [[x, y + 1.3 * SIZE], [x + 1.2 * SIZE, y - SIZE], [x - 1.2 * SIZE, y - SIZE]]),
  (pen, x, y) => pen.rect(x - 1.5 * SIZE, y - 0.6 * SIZE, 3 * SIZE, 1.2 * SIZE),
];

function polygon(pen, corners) {
  corners.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
}

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches && !document.documentElement.matches(".printing");
const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** The colour of a concept, lighter on a dark page; that of all concepts is the ink. */
function colorOf(concept, opacity = 1) {
  if (concept === null) return opacity === 1 ? paint("ink") : isDark() ? `rgb(232 232 232 / ${opacity})` : `rgb(34 34 34 / ${opacity})`;
  const lightened = COLORS[concept].map((part) => (isDark() ? Math.round(part + 0.3 * (255 - part)) : part));
  return `rgb(${lightened.join(" ")} / ${opacity})`;
}

function drawMark(pen, concept, x, y) {
  pen.beginPath();
  MARKS[concept % MARKS.length](pen, x, y);
  pen.fill();
}

/** The pen of a canvas that has as many pixels as the screen gives it. */
function sharpPen(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = Math.max(devicePixelRatio, 2);
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, width, height };
}

/** Where states lie on the canvas. Both axes have one scale, which stays over all steps or layers. */
function canvasPlaces(run, width, height) {
  const plane = planeOf(run, chosenLayer(), selection.token);
  const shared = run.over_layers ? run.planes.filter((other) => other.token === selection.token) : [plane];
  const end = (axis, side) => Math[side ? "max" : "min"](...shared.map((other) => other.ends[axis][side]));
  const [middle, half] = [0, 1].map((axis) => [(end(axis, 0) + end(axis, 1)) / 2, (end(axis, 1) - end(axis, 0)) / 2])
    .reduce(([middles, halves], [m, h]) => [[...middles, m], Math.max(halves, h)], [[], 0]);
  const scale = (Math.min(width, height) / 2 - 14) / (half || 1);
  const points = pointsOf(run, plane, run.steps.indexOf(chosenStep()));
  const places = points.map(([x, y]) => [width / 2 + scale * (x - middle[0]), height / 2 - scale * (y - middle[1])]);
  return { plane, places };
}

let shownPlaces = [];

function drawStates() {
  const [run, canvas] = [chosenRun(), element("states")];
  const { pen, width, height } = sharpPen(canvas);
  const { plane, places } = canvasPlaces(run, width, height);
  shownPlaces = places;
  places.forEach(([x, y], index) => {
    const concept = run.labels[index];
    if (selection.hidden.has(concept)) return;
    pen.fillStyle = colorOf(concept, 0.75);
    drawMark(pen, concept, x, y);
  });
  const [first, second] = plane.shares[run.steps.indexOf(chosenStep())].map((share) => (share / 10).toFixed(0));
  element("states-note").textContent =
    `Across and up are two directions that stay the same ${axesStay(run)}. Here they carry ${first}% and ${second}% of the ` +
    "variance of the states. Both have the same scale.";
  canvas.setAttribute("aria-label", `${places.length} states as points, coloured by concept, at ${placeInWords()}`);
}

const axesStay = (run) =>
  run.over_layers
    ? "at every layer, and every layer is centred and scaled to the same spread, so a point that moves has changed its " +
      "place among the others"
    : "at every step: the principal components of this layer's states at the last checkpoint. So a point moves if its state does";

/** Names the state under the pointer. */
function pointAt(event) {
  const [run, tip, box] = [chosenRun(), element("tip"), element("states").getBoundingClientRect()];
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const distance = (index) => Math.hypot(shownPlaces[index][0] - x, shownPlaces[index][1] - y);
  const visible = run.labels.map((_, index) => index).filter((index) => !selection.hidden.has(run.labels[index]));
  const found = visible.reduce((best, index) => (best === null || distance(index) < distance(best) ? index : best), null);
  tip.hidden = found === null || distance(found) > 10;
  if (tip.hidden) return;
  tip.textContent = `${run.concepts[run.labels[found]]}, prompt ${found + 1}`;
  const [left, top] = shownPlaces[found];
  tip.style.left = `${Math.min(left + 10, box.width - tip.offsetWidth)}px`;
  tip.style.top = `${Math.max(top - 32, 0)}px`;
}
