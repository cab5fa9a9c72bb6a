
// What is chosen: which runs are listed, in which order, with which columns. All of it stands in the address.

const PHASES = { running: "running", failed: "failed", damaged: "damaged", stopped: "stopped", finished: "finished", language_model: "language model", unread: "not read yet" };
const RELATIONS = {
  "=": { name: "is", holds: (a, b) => inOrder(a, b) === 0 },
  "!=": { name: "is not", holds: (a, b) => inOrder(a, b) !== 0 },
  ">=": { name: "is at least", holds: (a, b) => a !== undefined && inOrder(a, b) >= 0 },
  "<=": { name: "is at most", holds: (a, b) => a !== undefined && inOrder(a, b) <= 0 },
};
/** Settings that are shown before any is chosen. */
const AT_FIRST = 3;

const choices = { name: "", state: "", filters: [], columns: null, sort: "name", descending: false, page: 0, runs: new Set() };

/** Reads the address, or what it was when the list was left for a page of a run. */
function readAddress() {
  const said = new URLSearchParams((location.hash || sessionStorage.getItem("list") || "").slice(1));
  choices.name = said.get("name") ?? "";
  choices.state = said.get("state") in PHASES ? said.get("state") : "";
  const filter = (text) => /^([^=!<>]+)(!=|>=|<=|=)(.*)$/s.exec(text)?.slice(1);
  choices.filters = said.getAll("filter").map(filter).filter(Boolean);
  choices.columns = said.has("columns") ? said.get("columns").split(",").filter(Boolean) : null;
  choices.sort = said.get("sort") ?? "name";
  choices.descending = said.has("descending");
  choices.page = Number(said.get("page") ?? 0) || 0;
  choices.runs = new Set(said.getAll("run"));
}

function writeAddress() {
  const { name, state, filters, columns, sort, descending, page, runs } = choices;
  const said = new URLSearchParams();
  if (name) said.set("name", name);
  if (state) said.set("state", state);
  filters.forEach((filter) => said.append("filter", filter.join("")));
  if (columns) said.set("columns", columns.join(","));
  if (sort !== "name") said.set("sort", sort);
  if (descending) said.set("descending", "");
  if (page) said.set("page", page);
  runs.forEach((run) => said.append("run", run));
  history.replaceState(null, "", `#${said}`);
  sessionStorage.setItem("list", `#${said}`);
}

/** The settings that are shown as columns. */
function columnsShown() {
  if (choices.columns) return choices.columns.filter((field) => field in list.settings.varying || field in list.settings.same);
  const varying = Object.keys(list.settings.varying).filter((field) => field !== "name");
  return varying.sort((a, b) => (b === "seed") - (a === "seed")).slice(0, AT_FIRST);
}

/** The runs that are listed, in their order. */
function listed() {
  const word = choices.name.toLowerCase();
  const holds = (run) => ([field, relation, value]) => RELATIONS[relation].holds(settingOf(run, field), value);
  const isListed = (run) =>
    run.name.toLowerCase().includes(word) && (!choices.state || run.state === choices.state) && choices.filters.every(holds(run));
  const key = keyOf(choices.sort);
  const keyed = list.runs.filter(isListed).map((run) => [key(run), run]);
  const isMissing = (value) => value === null || value === undefined;
  // What is not there comes last either way.
  keyed.sort(([a], [b]) => (choices.descending && !isMissing(a) && !isMissing(b) ? inOrder(b, a) : inOrder(a, b)));
  return keyed.map(([, run]) => run);
}

/** What a column sorts by. */
function keyOf(column) {
  const keys = {
    name: (run) => run.name,
    state: (run) => Object.keys(PHASES).indexOf(run.state),
    progress: (run) => (run.steps ? run.step / run.steps : null),
    left: secondsLeft,
    error: (run) => run.error,
    over_optimal: (run) => run.over_optimal,
    cd: (run) => run.cd?.[0] ?? null,
    chance: (run) => run.chance || null,
  };
  return keys[column] ?? ((run) => settingOf(run, column));
}

function fill(id, options, chosen) {
  const made = options.map(([value, text]) => new Option(text, value, false, value === chosen));
  element(id).replaceChildren(...made);
}

/** Fills the controls with what the runs have; a choice that is being made stays. */
function fillControls() {
  const count = (state) => list.runs.filter((run) => run.state === state).length;
  const present = Object.keys(PHASES).filter((state) => count(state) || state === choices.state);
  fill("state", [["", `all (${list.runs.length})`], ...present.map((state) => [state, `${PHASES[state]} (${count(state)})`])], choices.state);
  const fields = fieldsOf(list.settings);
  const field = fields.includes(element("field").value) ? element("field").value : (columnsShown()[0] ?? fields[0]);
  fill("field", fields.map((name) => [name, name]), field);
  fillValues();
  const shown = columnsShown();
  const toggle = (name) => {
    const [label, box] = [document.createElement("label"), document.createElement("input")];
    box.type = "checkbox";
    box.checked = shown.includes(name);
    box.addEventListener("change", () => {
      choices.columns = box.checked ? [...columnsShown(), name] : columnsShown().filter((other) => other !== name);
      draw();
    });
    label.append(box, name);
    return label;
  };
  const labels = [...element("columns").querySelectorAll("label")];
  // They are made anew only where they are others, so that a tick keeps the focus.
  if (labels.map((label) => label.textContent).join() !== fields.join()) {
    element("columns").replaceChildren(element("columns").querySelector("legend"), ...fields.map(toggle));
  } else {
    labels.forEach((label) => {
      label.querySelector("input").checked = shown.includes(label.textContent);
    });
  }
}

function fillValues() {
  const values = element("field").value ? valuesOf(element("field").value).slice(0, 200) : [];
  element("values").replaceChildren(...values.map((value) => new Option(value, value)));
}

function fillFilters() {
  const chip = ([field, relation, value], place) => {
    const [made, remove] = [document.createElement("li"), document.createElement("button")];
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove the filter on ${field}`);
    remove.addEventListener("click", () => change(() => choices.filters.splice(place, 1)));
    made.append(`${field} ${RELATIONS[relation].name} ${value}`, remove);
    return made;
  };
  element("filters").replaceChildren(...choices.filters.map(chip));
}

/** Makes a choice that changes which runs are listed. */
function change(make) {
  make();
  choices.page = 0;
  fillFilters();
  draw();
}
