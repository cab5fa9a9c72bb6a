// What is chosen, and its form in the address.

const selection = { run: 0, place: 0, layer: 0, token: "", probe: "knn", hidden: new Set(), beside: new Set() };
const chosenRun = () => RUNS[selection.run];
const chosenLayer = () => (chosenRun().over_layers ? selection.place : selection.layer);
const chosenStep = () => (chosenRun().over_layers ? chosenRun().steps.at(-1) : selection.place);

/** The one of `values` that is nearest to `wanted`. */
const nearest = (values, wanted) =>
  values.reduce((best, value) => (Math.abs(value - wanted) < Math.abs(best - wanted) ? value : best), values[0]);

/** Makes everything that is chosen something that the chosen run has. */
function complete() {
  const run = chosenRun();
  const [layer, token] = run.start;
  if (!tokensOf(run).includes(selection.token)) selection.token = token;
  if (!layersOf(run).includes(selection.layer)) selection.layer = layer;
  if (!probesOf(run).includes(selection.probe)) selection.probe = probesOf(run)[0] ?? "";
  selection.place = nearest(placesOn(run), selection.place);
  selection.beside.delete(selection.run);
}

/** Begins where a run is done, at its best layer. */
function selectStart(run) {
  selection.layer = run.start[0];
  selection.place = run.over_layers ? run.start[0] : run.steps.at(-1);
}

function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const number = (name, otherwise) => (/^\d+$/.test(said.get(name) ?? "") ? Number(said.get(name)) : otherwise);
  const numbers = (name) => new Set((said.get(name) ?? "").split(",").filter((text) => /^\d+$/.test(text)).map(Number));
  selection.run = Math.min(number("run", 0), RUNS.length - 1);
  selectStart(chosenRun());
  selection.layer = number("layer", selection.layer);
  selection.place = number("at", selection.place);
  selection.token = said.get("token") ?? "";
  selection.probe = said.get("probe") ?? "knn";
  selection.hidden = numbers("hide");
  selection.beside = new Set([...numbers("beside")].filter((run) => run < RUNS.length));
  complete();
}

function writeAddress() {
  const said = { run: selection.run, at: selection.place, layer: selection.layer, token: selection.token };
  const lists = { hide: selection.hidden, beside: selection.beside };
  const address = new URLSearchParams({ ...said, probe: selection.probe });
  for (const [name, set] of Object.entries(lists)) if (set.size) address.set(name, [...set].join(","));
  element("link").href = `#${address}`;
  history.replaceState(null, "", `#${address}`);
}
