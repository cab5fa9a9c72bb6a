// The controls, and what follows from them.

function fill(id, choices, chosen) {
  const made = choices.map(([value, text]) => new Option(text, value, false, String(value) === String(chosen)));
  element(id).replaceChildren(...made);
}

function fillControls() {
  const run = chosenRun();
  fill("run", RUNS.map(({ name }, index) => [index, name]), selection.run);
  fill("layer", layersOf(run).map((layer) => [layer, layer === 0 ? "0, the embedding" : layer]), selection.layer);
  fill("token", tokensOf(run).map((token) => [token, isOfText(run) ? `${token}, ${tokenName(run, token)}` : token]), selection.token);
  fill("probe", probesOf(run).map((probe) => [probe, probe === "knn" ? "knn (CD)" : probe.replaceAll("_", " ")]), selection.probe);
  element("run-choice").hidden = element("beside").hidden = RUNS.length < 2;
  element("layer-choice").hidden = run.over_layers;
  element("place").max = placesOn(run).length - 1;
  element("place-label").textContent = run.over_layers ? "Layer" : "Checkpoint";
  fillToggles("concepts", run.concepts.map((name, index) => [index, name]), (index) => !selection.hidden.has(index), selection.hidden, markOf);
  const others = RUNS.map(({ name }, index) => [index, name]).filter(([index]) => index !== selection.run);
  fillToggles("beside", others, (index) => selection.beside.has(index), selection.beside);
}

/** A box to tick for each choice; a tick puts it into `set`, or takes it out. */
function fillToggles(id, choices, isOn, set, mark) {
  const toggle = ([index, text]) => {
    const [label, box] = [document.createElement("label"), document.createElement("input")];
    box.type = "checkbox";
    box.checked = isOn(index);
    box.addEventListener("change", () => {
      if (!set.delete(index)) set.add(index);
      update();
    });
    label.append(box, ...(mark ? [mark(index)] : []), text);
    return label;
  };
  const field = element(id);
  field.replaceChildren(field.querySelector("legend"), ...choices.map(toggle));
}

/** Draws everything anew: what is chosen has changed. */
function update() {
  complete();
  pointed = null;
  const run = chosenRun();
  const of = run.over_layers ? "layers" : "training steps";
  element("scores-caption").textContent = `${probeName(selection.probe)} over ${of}`;
  const where = run.over_layers ? "" : `${layerName(selection.layer)}, `;
  drawCurves("scores", {
    name: "scores",
    title: `${probeName(selection.probe)} of every concept over ${of}, ${where}${tokenName(run, selection.token)}; its values are in the table`,
    lines: linesOf(scoreLines),
    levels: [chanceLevel(run)],
    margin: marginFor([chanceLevel(run), ...levelsOf(run)]),
    range: [0, 1.02],
    xTitle: run.over_layers ? "layer" : "training step",
    yTitle: "accuracy",
    mark: () => selection.place,
    choose: moveTo,
  });
  drawAnswers(run);
  move();
}

function drawAnswers(run) {
  const lines = linesOf(answerLines);
  element("answers-figure").hidden = lines.length === 0;
  if (!lines.length) return;
  const over = run.over_layers ? "demonstrations" : "training steps";
  const isError = !isOfText(run);
  const caption = isError ? `Error over ${over}` : `Exact answers over ${over}`;
  element("answers-caption").textContent = caption;
  const levels = levelsOf(run);
  const highest = Math.max(...lines.flatMap((line) => line.mean), ...levels.map((level) => level.value));
  const tokens = new Map(tokensOf(run).map((token) => [demonstrationsAt(token), token]));
  drawCurves("answers", {
    name: "answers",
    title: `${caption} of every concept; its values are in the table`,
    lines,
    levels,
    margin: marginFor([chanceLevel(run), ...levels]),
    range: [0, isError ? 1.05 * highest : 1.02],
    xTitle: run.over_layers ? "demonstrations" : "training step",
    yTitle: run.answers_title,
    mark: () => (run.over_layers ? demonstrationsAt(selection.token) : selection.place),
    choose: run.over_layers ? (shots) => chooseToken(tokens.get(shots)) : moveTo,
  });
}

function chooseToken(token) {
  if (!token) return;
  selection.token = token;
  fillControls();
  update();
}

function moveTo(place) {
  selection.place = nearest(placesOn(chosenRun()), place);
  move();
}

/** Follows the slider: the curves stay, and their cursors move. */
function move() {
  const run = chosenRun();
  const places = placesOn(run);
  const slider = element("place");
  slider.value = places.indexOf(selection.place);
  const last = run.over_layers ? places.at(-1) : places.at(-1).toLocaleString("en");
  const text = run.over_layers ? inWords(run, selection.place) : `${inWords(run, selection.place)} of ${last}`;
  element("place-text").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  element("states-caption").textContent = `Hidden states by concept, ${inWords(run, selection.place)}`;
  const beside = [...selection.beside].map((index) => RUNS[index].name);
  element("shown").textContent = `${run.name}: ${placeInWords()}${beside.length ? `; beside it, thin: ${beside.join("; ")}` : ""}`;
  drawStates();
  Object.values(plots).forEach((plot) => plot.redraw(false));
  drawReadout();
  writeAddress();
}

let playing = null;

function stop() {
  clearInterval(playing);
  playing = null;
  element("play").textContent = "Play";
}

function play() {
  if (playing) return stop();
  const places = placesOn(chosenRun());
  if (selection.place === places.at(-1)) moveTo(places[0]);
  element("play").textContent = "Pause";
  playing = setInterval(() => {
    const next = placesOn(chosenRun())[placesOn(chosenRun()).indexOf(selection.place) + 1];
    if (next === undefined) return stop();
    moveTo(next);
  }, 150);
}

function listen() {
  const choose = (id, take) =>
    element(id).addEventListener("change", () => {
      take(element(id).value);
      complete();
      fillControls();
      update();
    });
  choose("run", (value) => (selection.run = Number(value)));
  choose("layer", (value) => (selection.layer = Number(value)));
  choose("token", (value) => (selection.token = value));
  choose("probe", (value) => (selection.probe = value));
  element("place").addEventListener("input", () => moveTo(placesOn(chosenRun())[Number(element("place").value)]));
  element("play").addEventListener("click", play);
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("states").addEventListener("pointermove", pointAt);
  element("states").addEventListener("pointerleave", () => (element("tip").hidden = true));
  const again = () => (fillControls(), update());
  addEventListener("hashchange", () => (readAddress(), again()));
  addEventListener("resize", update);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  const printing = (is) => () => (document.documentElement.classList.toggle("printing", is), again());
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
}

document.title = `Explore ${EXPLORATION.title}`;
element("title").textContent = EXPLORATION.title;
if (RUNS.length) {
  readAddress();
  fillControls();
  listen();
  update();
}
