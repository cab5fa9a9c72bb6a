// The numbers at what is shown, or under the pointer, as a table.

const inWords = (run, place) => (run.over_layers ? layerName(place) : `step ${place.toLocaleString("en")}`);
const layerName = (layer) => (layer === 0 ? "the embedding" : `layer ${layer}`);
const probeName = (probe) => (probe === "knn" ? "CD" : `${probe.replaceAll("_", " ")} probe`);
const tokenName = (run, token) => (isOfText(run) ? `after ${demonstrationsAt(token)} demonstrations` : `token ${token}`);
const isOfText = (run) => run.answers_title === "exact answers";
const controlName = (control) => control.replaceAll("_", " ");

function placeInWords() {
  const run = chosenRun();
  const layer = run.over_layers ? "" : `${layerName(selection.layer)}, `;
  return `${inWords(run, selection.place)}, ${layer}${tokenName(run, selection.token)}`;
}

/** What a line is of; that of a run beside the chosen one has the run's name. */
function lineName({ run, concept, control }) {
  const name = concept === null ? "all concepts" : run.concepts[concept];
  return [run === chosenRun() ? "" : run.name, control ? controlName(control) : name].filter(Boolean).join(": ");
}

/** A value of a line at `x`, with its interval, which no line break parts: "0.920 [0.870, 0.950]". */
function valueAt(line, x) {
  const index = line ? line.x.indexOf(x) : -1;
  if (index < 0 || line.mean[index] === null) return "–";
  const number = (value) => value.toFixed(3);
  const interval = line.lo ? ` [${number(line.lo[index])},\u00a0${number(line.hi[index])}]` : "";
  return number(line.mean[index]) + interval;
}

/** Where both charts are read: under the pointer, or where the slider is. */
function readPlaces(run) {
  const chosen = { scores: selection.place, answers: run.over_layers ? demonstrationsAt(selection.token) : selection.place };
  if (!pointed) return chosen;
  return run.over_layers ? { ...chosen, [pointed.chart]: pointed.x } : { scores: pointed.x, answers: pointed.x };
}

function cell(kind, text, scope) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (scope) made.scope = scope;
  return made;
}

/** A mark as it is drawn among the states. */
function markOf(concept) {
  const canvas = document.createElement("canvas");
  canvas.className = "mark";
  canvas.setAttribute("aria-hidden", "true");
  [canvas.width, canvas.height] = [32, 32];
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  pen.fillStyle = colorOf(concept);
  drawMark(pen, concept, 8, 8);
  return canvas;
}

function drawReadout() {
  const run = chosenRun();
  const at = readPlaces(run);
  const [scores, answers] = [scoreLines(run, selection), answerLines(run, selection)];
  const titles = ["Concept", `${probeName(selection.probe)} [95% interval]`, ...(answers.length ? [answersHead(run, at)] : [])];
  element("readout-head").replaceChildren(...titles.map((title) => cell("th", title, "col")));
  const where = pointed ? `Under the pointer, ${pointedInWords(run)}` : `At ${placeInWords()}`;
  element("readout-caption").textContent = where;
  const row = (name, concept, score, answer, isLevel) => {
    const made = document.createElement("tr");
    const head = cell("th", name, "row");
    if (concept !== null) head.prepend(markOf(concept), " ");
    made.append(head, cell("td", score), ...(answers.length ? [cell("td", answer)] : []));
    if (isLevel) made.className = "level";
    return made;
  };
  const of = (lines, concept, control = null) => lines.find((line) => line.concept === concept && line.control === control);
  const concepts = [null, ...run.concepts.keys()].filter((concept) => concept === null || !selection.hidden.has(concept));
  const rows = concepts.map((concept) => {
    const name = concept === null ? "all concepts" : run.concepts[concept];
    return row(name, concept, valueAt(of(scores, concept), at.scores), valueAt(of(answers, concept), at.answers));
  });
  const controls = scores.filter((line) => line.control && line.concept === null);
  rows.push(...controls.map((line) => row(controlName(line.control), null, valueAt(line, at.scores), "", true)));
  rows.push(row("chance", null, run.chance.toFixed(3), "", true));
  rows.push(...levelsOf(run).map((level) => row(level.name, null, "", level.value.toFixed(3), true)));
  element("readout").replaceChildren(...rows);
}

function answersHead(run, at) {
  const capital = run.answers_title[0].toUpperCase() + run.answers_title.slice(1);
  const title = isOfText(run) ? `${capital} [95% interval]` : capital;
  return run.over_layers ? `${title} after ${at.answers}` : title;
}

function pointedInWords(run) {
  if (run.over_layers && pointed.chart === "answers") return `after ${pointed.x} demonstrations`;
  return inWords(run, pointed.x);
}
