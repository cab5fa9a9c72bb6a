
// The table, and what is done with the runs that are chosen in it.

/** Rows at a time: more than anyone reads, and few enough to be drawn at once. */
const ROWS = 100;
/** Runs that a page compares at most. */
const MOST_COMPARED = 16;

const COLUMNS = [
  ["name", "Run", "words"],
  ["state", "State", "words"],
  ["progress", "Steps", ""],
  ["left", "Time left", ""],
  ["error", "Error", ""],
  ["over_optimal", "× optimal", ""],
  ["cd", "CD [95% interval]", ""],
  ["chance", "Chance", ""],
];

const rows = new Map();

const columns = () => [...COLUMNS, ...columnsShown().map((field) => [field, field, ""])];
const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const query = (runs) => new URLSearchParams(runs.map((run) => ["run", run])).toString();

function made(kind, { name, text, ...others } = {}, ...children) {
  const element = Object.assign(document.createElement(kind), others);
  if (name) element.className = name;
  element.append(...(text === undefined ? [] : [text]), ...children);
  return element;
}

function drawHead() {
  const head = (name, title, kind) => {
    const isSorted = choices.sort === name;
    const mark = isSorted ? (choices.descending ? " ↓" : " ↑") : "";
    const button = made("button", { type: "button", text: title + mark });
    button.dataset.column = name;
    const cell = made("th", { name: kind, scope: "col" }, button);
    if (isSorted) cell.setAttribute("aria-sort", choices.descending ? "descending" : "ascending");
    return cell;
  };
  const wanted = JSON.stringify([columns(), choices.sort, choices.descending]);
  if (element("head").dataset.shows === wanted) return;
  const focused = document.activeElement?.dataset?.column;
  element("head").dataset.shows = wanted;
  element("head").replaceChildren(made("th", { name: "words", scope: "col", ariaLabel: "Chosen" }), ...columns().map((column) => head(...column)));
  if (focused) element("head").querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus();
}

const PROGRESS_WORDS = (run) => (run.steps === null ? "–" : `${(run.step ?? 0).toLocaleString("en")} of ${run.steps.toLocaleString("en")}`);
const stateInWords = (run) => (run.state === "stopped" && run.step === null ? "not begun" : PHASES[run.state]);

/** The cells of a run, behind the one to choose it. */
function cells(run) {
  const cd = run.cd && `${number(run.cd[0], 2)} [${number(run.cd[1], 2)}, ${number(run.cd[2], 2)}]`;
  const progress = run.steps === null ? [] : [made("progress", { max: run.steps, value: run.step ?? 0 })];
  if (progress.length) progress[0].setAttribute("aria-hidden", "true");
  const why = run.note ? [made("span", { name: "why", text: run.note, title: run.note })] : [];
  return [
    made("th", { scope: "row", name: "words" }, made("a", { href: `/explore?${query([run.name])}`, text: run.name })),
    made("td", { name: "words" }, made("span", { name: "state", text: stateInWords(run) }), ...why),
    made("td", {}, PROGRESS_WORDS(run), ...progress),
    made("td", { text: inTime(secondsLeft(run)) }),
    made("td", { text: number(run.error, 3) }),
    made("td", { text: number(run.over_optimal, 2) }),
    made("td", {}, run.emerged ? made("b", { text: cd }) : cd ?? "–"),
    made("td", { text: run.chance ? number(run.chance, 2) : "–" }),
    ...columnsShown().map((field) => made("td", { text: settingOf(run, field) ?? "–" })),
  ];
}

/** The row of a run. It is the same element as long as the run is listed, so that what has the focus keeps it. */
function rowOf(run) {
  const shows = JSON.stringify([run, inTime(secondsLeft(run)), columnsShown().map((field) => [field, settingOf(run, field)])]);
  if (!rows.has(run.name)) {
    const box = made("input", { type: "checkbox" });
    box.setAttribute("aria-label", `Choose ${run.name}`);
    box.addEventListener("change", () => {
      if (!choices.runs.delete(run.name)) choices.runs.add(run.name);
      draw();
    });
    rows.set(run.name, made("tr", {}, made("td", { name: "words" }, box)));
  }
  const row = rows.get(run.name);
  row.querySelector("input").checked = choices.runs.has(run.name);
  if (row.dataset.shows === shows) return row;
  row.dataset.shows = shows;
  row.className = run.state;
  row.replaceChildren(row.firstChild, ...cells(run));
  return row;
}

function draw() {
  const runs = listed();
  const pages = Math.max(1, Math.ceil(runs.length / ROWS));
  choices.page = Math.min(Math.max(choices.page, 0), pages - 1);
  const first = choices.page * ROWS;
  drawHead();
  const wanted = runs.slice(first, first + ROWS).map(rowOf);
  const there = element("body").children;
  if (wanted.length !== there.length || wanted.some((row, place) => row !== there[place])) element("body").replaceChildren(...wanted);
  const names = new Set(list.runs.map((run) => run.name));
  [...rows.keys()].filter((name) => !names.has(name)).forEach((name) => rows.delete(name));
  if (tag) [...choices.runs].filter((name) => !names.has(name)).forEach((name) => choices.runs.delete(name));
  drawSummary(runs.length);
  drawChosen();
  element("pager").style.display = pages > 1 ? "" : "none";
  const last = Math.min(first + ROWS, runs.length).toLocaleString("en");
  element("range").textContent = `${(first + 1).toLocaleString("en")} to ${last} of ${runs.length.toLocaleString("en")}`;
  element("back").disabled = choices.page === 0;
  element("on").disabled = choices.page === pages - 1;
  writeAddress();
}

function drawSummary(shown) {
  const all = list.runs.length;
  const some = shown < all ? `${shown.toLocaleString("en")} of ` : "";
  const count = `${some}${all.toLocaleString("en")} ${all === 1 ? "run" : "runs"}`;
  const unread = list.runs.filter((run) => run.state === "unread").length;
  const reading = unread ? `, ${unread.toLocaleString("en")} still to be read` : "";
  element("summary").textContent = tag ? `${count} in ${list.folder}${reading}` : "";
}

function drawChosen() {
  const chosen = [...choices.runs];
  element("chosen").textContent = chosen.length ? `${chosen.length} chosen` : "Choose runs to compare them";
  const link = (id, isOffered, address) => {
    element(id).hidden = !isOffered;
    element(id).href = address;
  };
  // The first one whole, and the curves of the others beside it.
  const beside = chosen.slice(1).map((_, place) => place + 1);
  link("compare", chosen.length >= 2 && chosen.length <= MOST_COMPARED, `/explore?${query(chosen)}#beside=${beside}`);
  link("differences", chosen.length === 2, `/diff?${query(chosen)}`);
  element("none").hidden = chosen.length === 0;
  if (chosen.length > MOST_COMPARED) element("chosen").textContent += `; at most ${MOST_COMPARED} are compared`;
}

function listen() {
  element("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    const [field, relation, value] = ["field", "relation", "value"].map((id) => element(id).value);
    if (field && value) change(() => choices.filters.push([field, relation, value]));
    element("value").value = "";
  });
  element("name").addEventListener("input", () => change(() => (choices.name = element("name").value)));
  element("state").addEventListener("change", () => change(() => (choices.state = element("state").value)));
  element("field").addEventListener("change", fillValues);
  element("head").addEventListener("click", ({ target }) => {
    const column = target.dataset.column;
    if (!column) return;
    choices.descending = choices.sort === column && !choices.descending;
    choices.sort = column;
    choices.page = 0;
    draw();
  });
  element("none").addEventListener("click", () => (choices.runs.clear(), draw()));
  element("back").addEventListener("click", () => ((choices.page -= 1), draw()));
  element("on").addEventListener("click", () => ((choices.page += 1), draw()));
  addEventListener("hashchange", begin);
  document.addEventListener("visibilitychange", () => document.hidden || ask());
}

/** Brings back what the address says. */
function begin() {
  readAddress();
  element("name").value = choices.name;
  fillControls();
  fillFilters();
  draw();
}

fill("relation", Object.entries(RELATIONS).map(([sign, { name }]) => [sign, name]), "=");
listen();
begin();
follow();
