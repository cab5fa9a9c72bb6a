"use strict";

// What the page shows, as the program wrote it.

const [EXPLORATION, COLORS] = JSON.parse(document.getElementById("data").textContent);
const RUNS = EXPLORATION.runs;

const element = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const fromThousandths = (value) => (value === null || value === undefined ? null : value / 1000);

/** The bytes that a plane's coordinates are, decoded when they are first shown. */
function placesOf(plane) {
  if (!plane.bytes) plane.bytes = Uint8Array.from(atob(plane.places), (letter) => letter.charCodeAt(0));
  return plane.bytes;
}

/** The states of a run at a layer and token after one of its steps: [x, y] each, in the units of the states. */
function pointsOf(run, plane, stepIndex) {
  const [bytes, count] = [placesOf(plane), run.labels.length];
  const place = (index, axis) => {
    const [low, high] = plane.ends[axis];
    return low + ((high - low) * bytes[2 * (stepIndex * count + index) + axis]) / 255;
  };
  return run.labels.map((_, index) => [place(index, 0), place(index, 1)]);
}

const planeOf = (run, layer, token) => run.planes.find((plane) => plane.layer === layer && plane.token === token);
const layersOf = (run) => unique(run.planes.map((plane) => plane.layer)).sort((a, b) => a - b);
const tokensOf = (run) => unique(run.planes.map((plane) => plane.token));
const probesOf = (run) => unique(run.scores.lines.map((line) => line.probe));
/** How many demonstrations a prompt of text has ahead of a token. */
const demonstrationsAt = (token) => Number(token.slice(1)) - 1;

/** Where the slider can be: steps, or where there is one step only, layers. */
const placesOn = (run) => (run.over_layers ? layersOf(run) : run.steps);

/** What guessing reaches. */
const chanceLevel = (run) => ({ name: `chance ${run.chance.toFixed(2)}`, value: run.chance });
/** The reference predictors' errors on all concepts together. */
const levelsOf = (run) => run.levels.filter((level) => level.concept === null);

/** The lines of a run's probe at a token: `[{control, concept, x, mean, lo, hi}]`, over steps or layers. */
function scoreLines(run, { probe, token, layer }) {
  const here = run.scores.lines.filter((line) => line.probe === probe && line.token === token);
  if (!run.over_layers) {
    return here.filter((line) => line.layer === null || line.layer === layer).map((line) => overSteps(run.scores, line));
  }
  // What is scored without a model is the same at every layer.
  const everywhere = (line) => (line.layer === null ? layersOf(run).map((layer) => ({ ...line, layer })) : [line]);
  const groups = Map.groupBy(here.flatMap(everywhere), (line) => `${line.control}/${line.concept}`);
  return [...groups.values()].map((lines) => overPlaces(lines, (line) => line.layer));
}

/** How well a run answers: over steps, or where there is one only, over numbers of demonstrations. */
function answerLines(run, { token }) {
  if (!run.over_layers) {
    const here = run.answers.lines.filter((line) => line.token === null || line.token === token);
    return here.map((line) => overSteps(run.answers, line));
  }
  const groups = Map.groupBy(run.answers.lines, (line) => line.concept);
  return [...groups.values()].map((lines) => overPlaces(lines, (line) => demonstrationsAt(line.token)));
}

function overSteps(curves, line) {
  const read = (values) => values?.map(fromThousandths);
  const { mean, lo, hi } = line.values;
  return { ...line, x: curves.steps, mean: read(mean), lo: read(lo), hi: read(hi) };
}

/** One line through the last step of several. */
function overPlaces(lines, placeOf) {
  const sorted = [...lines].sort((a, b) => placeOf(a) - placeOf(b));
  const last = (part) => sorted.map((line) => fromThousandths(line.values[part]?.at(-1)));
  const hasInterval = sorted.every((line) => line.values.lo);
  return {
    ...sorted[0],
    x: sorted.map(placeOf),
    mean: last("mean"),
    lo: hasInterval ? last("lo") : undefined,
    hi: hasInterval ? last("hi") : undefined,
  };
}
