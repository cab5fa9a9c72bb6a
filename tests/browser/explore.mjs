// Makes runs and uses their pages of `explore` as a person would, with pointer, keyboard and screen reader; what is said is held
// to the tables: `node tests/browser/explore.mjs PROGRAM`.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, drawn, evaluate, open, pointAt, press, showAs } from "./chromium.mjs";
import { makeRuns } from "./runs.mjs";
import { chosen, compareNumbers, plain, tablesOf } from "./tables.mjs";

const runs = makeRuns(process.argv[2]);
const run = runs.seeds[0];
const browser = await chromium();
const addressOf = (folder) => pathToFileURL(join(folder, "explore.html")).href;
const openPage = (folder, how) => open(browser, addressOf(folder), how);
const look = (expression) => evaluate(browser, expression);
const choose = (id, value, event) => look(`{ const it = element("${id}"); it.value = ${JSON.stringify(value)}; it.dispatchEvent(new Event("${event}")); }`);

/** Moves the slider to its start, middle and end, and compares the numbers there. */
async function compareAlong(tables) {
  const last = await look("Number(element('place').max)");
  let rows = 0;
  for (const place of [0, Math.floor(last / 2), last]) {
    await choose("place", place, "input");
    rows += await compareNumbers(browser, tables);
  }
  return rows;
}

async function slider() {
  await openPage(run);
  const rows = await compareAlong(tablesOf(run));
  await choose("place", 1, "input");
  await choose("probe", "linear", "change");
  const address = await look("location.href");
  await open(browser, address);
  assert.equal(await look("location.href"), address, "the address brings back what was shown");
  return `${rows + (await compareNumbers(browser, tablesOf(run)))} rows agree with the tables`;
}

async function offline() {
  browser.requests.length = 0;
  await openPage(run);
  await choose("place", 0, "input");
  assert.deepEqual(browser.requests.filter((url) => url !== "about:blank"), [addressOf(run)]);
  return "the file alone is read";
}

/** Points at every value of every line of a chart, and compares what is said there with `expected(name, x)`. */
async function hoverChart(chart, expected) {
  const values = await look(`(() => {
    const { over, series, data, valToPos, posToVal } = plots["${chart}"];
    const { left, top } = over.getBoundingClientRect();
    const lines = data.slice(1).filter((_, index) => series[index + 1].width > 0);
    const pixel = posToVal(0, "y") - posToVal(1, "y");
    const at = (line) => data[0].map((x, index) => [x, line[index], pixel, left + Math.min(valToPos(x, "x"), over.clientWidth - 1), top + Math.min(valToPos(line[index], "y"), over.clientHeight - 1)]);
    return lines.flatMap(at);
  })()`);
  for (const [x, value, pixel, ...place] of values) {
    await pointAt(browser, place);
    const [name, where, said] = (await look(`[...element("${chart}-tip").children].map((row) => row.textContent)`)).map(plain);
    assert((await look(`element("${chart}-tip").offsetHeight`)) < 90, "three lines of text");
    assert.equal(where.match(/\d+/)?.[0] ?? "0", String(x), "the embedding is layer 0");
    assert.equal(said, expected(name, x), `${name} at ${x}`);
    assert(Math.abs(parseFloat(said) - value) < 2 * pixel, `${name} at ${x} is the nearest line`);
  }
  assert.match(await look("element('readout-caption').textContent"), /^Under the pointer/);
  await pointAt(browser, [1, 1]);
  assert(await look(`element("${chart}-tip").hidden`), "away from the curves nothing is said");
  return values.length;
}

async function hover() {
  await openPage(run);
  const [tables, at] = [tablesOf(run), await chosen(browser)];
  const scores = await hoverChart("scores", (name, step) => tables.score({ ...at, step }, name));
  const answers = await hoverChart("answers", (name, step) => tables.answer({ step }, name));
  const places = await look("(({ left, top }) => shownPlaces.map(([x, y]) => [left + x, top + y]))(element('states').getBoundingClientRect())");
  await pointAt(browser, places[0]);
  assert.match(await look("element('tip').textContent"), /^B\d .*, prompt \d+$/);
  return `${scores} scores and ${answers} errors are those of the tables`;
}

/** What a screen reader is told of every node of the page that it does not skip. */
async function heard() {
  const { nodes } = await browser.send("Accessibility.getFullAXTree");
  return nodes.filter((node) => !node.ignored).map((node) => ({ id: node.backendDOMNodeId, role: node.role?.value, name: node.name?.value ?? "", says: node.properties }));
}

/** Presses Tab through the page, and returns the role and name of everything that it comes by. */
async function tabThrough() {
  const controls = await look("document.querySelectorAll('a, button, input, select').length - document.querySelectorAll('[hidden] :is(input, select)').length");
  const met = [];
  for (let number = 0; number < controls; number += 1) {
    await press(browser, "Tab");
    const { result } = await browser.send("Runtime.evaluate", { expression: "document.activeElement" });
    const { node } = await browser.send("DOM.describeNode", { objectId: result.objectId });
    const found = (await heard()).find(({ id }) => id === node.backendNodeId);
    assert(found?.name, `${node.nodeName} has no name`);
    met.push(`${found.role} ${found.name}`);
  }
  assert.equal(new Set(met).size, controls, `every control once: ${met.join(", ")}`);
  return met;
}

async function keyboard() {
  await browser.send("Emulation.setFocusEmulationEnabled", { enabled: true });
  await openPage(runs.sweep);
  const met = await tabThrough();
  const tables = tablesOf(run);
  await look("element('place').focus()");
  for (const [key, place] of [["Home", 0], ["ArrowRight", 1], ["ArrowRight", 2], ["ArrowLeft", 1]]) {
    await press(browser, key);
    assert.equal(await look("chosenRun().steps.indexOf(selection.place)"), place, key);
    await compareNumbers(browser, tables);
    const text = await look("element('place').getAttribute('aria-valuetext')");
    assert.equal(text, `step ${await look("selection.place")} of 40`);
  }
  await look("element('layer').focus()");
  const layer = await look("selection.layer");
  await press(browser, layer < 2 ? "ArrowDown" : "ArrowUp");
  assert.notEqual(await look("selection.layer"), layer, "an arrow key chooses another layer");
  await compareNumbers(browser, tables);
  await look("document.querySelector('#concepts input').focus()");
  await press(browser, " ");
  assert.equal(await look("document.querySelectorAll('#readout tr:not(.level)').length"), 2, "the space bar takes a concept away");
  const images = (await heard()).filter(({ role }) => role === "image");
  assert(images.length === 3 && images.every(({ name }) => name.length > 20), "states and curves are described");
  return `${met.length} controls have a name: ${met.join(", ")}`;
}

async function overlay() {
  await openPage(runs.sweep);
  const [first, second] = runs.seeds.map((seed) => tablesOf(seed));
  const lines = () => look("['scores', 'answers'].map((chart) => plots[chart].series.filter(({ width }) => width > 0).length)");
  const alone = await lines();
  await look("document.querySelector('#beside input').click()");
  assert.deepEqual(await lines(), alone.map((count) => count + 3), "three curves more in each chart: two concepts and all");
  const name = await look("RUNS[1].name");
  assert.match(name, /^seed 1 \(seeds-/);
  assert((await look("element('shown').textContent")).endsWith(`beside it, thin: ${name}`));
  const at = await chosen(browser);
  const beside = (name) => name.split(": ").at(-1);
  const tables = (line) => (line.startsWith(name) ? second : first);
  const scores = await hoverChart("scores", (line, step) => tables(line).score({ ...at, step }, beside(line)));
  const answers = await hoverChart("answers", (line, step) => tables(line).answer({ step }, beside(line)));
  let rows = await compareAlong(first);
  await choose("run", 1, "change");
  rows += await compareAlong(second);
  return `${scores + answers} values of both seeds at the pointer, ${rows} rows of two runs`;
}

async function pretrained() {
  await openPage(runs.text);
  const tables = tablesOf(runs.text, true);
  assert.equal(await look("element('place-label').textContent"), "Layer");
  assert(await look("element('layer-choice').hidden"), "there is no other choice of a layer");
  assert.equal(await look("element('place').max"), "3", "three blocks, and the embedding");
  let [rows, values] = [0, 0];
  for (const token of await look("tokensOf(chosenRun())")) {
    await choose("token", token, "change");
    rows += await compareAlong(tables);
    values += await hoverChart("scores", (name, layer) => tables.score({ step: 0, layer, token, probe: "knn" }, name));
    values += await hoverChart("answers", (name, shots) => tables.answer({ step: 0, token: `x${shots + 1}` }, name));
  }
  return `${rows} rows and ${values} values at the pointer agree with the tables`;
}

/** Contrast of two colours as WCAG defines it: 1 is none, 21 is black on white. */
function contrast(...colors) {
  const light = (hex) => {
    const parts = [...hex.slice(1).replace(/^(.)(.)(.)$/, "$1$1$2$2$3$3").matchAll(/../g)].map((part) => parseInt(part, 16) / 255);
    const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  };
  const [low, high] = colors.map(light).sort((a, b) => a - b);
  return high / low;
}

async function lightAndDark() {
  await openPage(runs.sweep);
  const papers = [];
  for (const dark of [false, true]) {
    await showAs(browser, { dark });
    await drawn(browser);
    const [paper, ...inks] = await look("['paper', 'ink', 'soft', 'accent'].map(paint)");
    for (const ink of inks) assert(contrast(paper, ink) > 4.5, `${ink} on ${paper}`);
    assert.equal(await look("plots.scores.axes[0].stroke()"), inks[1], "curves are drawn anew");
    papers.push(paper);
  }
  assert(contrast(...papers) > 15);
  for (const width of [1400, 700, 400]) {
    await openPage(runs.sweep, { width });
    assert((await look("document.documentElement.scrollWidth - innerWidth")) <= 0, `nothing is wider than ${width} pixels`);
  }
  return "text has a contrast of 4.5 and more; nothing is cut off on a screen of 400 pixels";
}

async function printing() {
  await openPage(runs.sweep, { dark: true });
  await look("addEventListener('beforeprint', () => (window.printed = [paint('paper'), plots.scores.axes[0].stroke()]))");
  const { data } = await browser.send("Page.printToPDF", { printBackground: true, paperWidth: 8.27, paperHeight: 11.69 });
  assert.deepEqual(await look("window.printed"), ["#fff", "#5b5b5b"], "a dark page is printed on white");
  const pages = Buffer.from(data, "base64").toString("latin1").match(/\/Type \/Page\b/g).length;
  assert(pages <= 2);
  await showAs(browser, { print: true });
  // A4 less its margins. Curves keep the width that they had on the screen.
  const cut = await look(`(document.documentElement.style.width = "718px", [...document.querySelectorAll("main, main *")].filter((part) => part.checkVisibility() && part.getBoundingClientRect().right > 718).length)`);
  assert.equal(cut, 0, "nothing is cut off");
  const seen = (id) => look(`element("${id}").checkVisibility()`);
  for (const id of ["controls", "hint"]) assert(!(await seen(id)), `${id} is for a screen`);
  for (const id of ["shown", "states", "states-note", "scores", "answers", "readout"]) assert(await seen(id), `${id} is printed`);
  await showAs(browser, {});
  return `${pages} pages, black on white`;
}

async function big() {
  const opening = await openPage(runs.big);
  const size = statSync(join(runs.big, "explore.html")).size;
  const counts = await look("[chosenRun().steps.length, chosenRun().labels.length, layersOf(chosenRun()).length, tokensOf(chosenRun()).length]");
  assert.deepEqual(counts, [100, 400, 13, 2]);
  assert(opening < 2000 && size < 5e6, `${opening} ms, ${size} bytes`);
  const started = performance.now();
  for (let place = 0; place < 100; place += 1) {
    await choose("place", place, "input");
    await drawn(browser);
  }
  const move = (performance.now() - started) / 100;
  const rows = await compareAlong(tablesOf(runs.big));
  return `opens in ${Math.round(opening)} ms, ${(size / 1e6).toFixed(2)} MB, ${Math.round(move)} ms a move, ${rows} rows agree`;
}

try {
  for (const test of [slider, offline, hover, keyboard, overlay, pretrained, lightAndDark, printing, big]) {
    console.log(`${test.name}: ${await test()}`);
    assert.deepEqual(browser.errors, [], "nothing is written to the console");
  }
} finally {
  await browser.close();
  runs.remove();
}
