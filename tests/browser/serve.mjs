// Serves a folder of runs while one of them trains, and looks at the pages as a person would:
// `node tests/browser/serve.mjs PROGRAM [FOLDER FOR PICTURES]`.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium, evaluate, open } from "./chromium.mjs";

const [program, pictures] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "serve-"));
const train = (...sets) => ["train", "smoke", "--quiet", "--out", folder, ...sets.flatMap((set) => ["--set", set])];

/** The address that the server prints. */
async function serve() {
  const child = spawn(program, ["serve", folder, "--port", "0"], { stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface(child.stdout)) return { child, address: line };
}

for (const seed of [0, 1]) assert.equal(spawnSync(program, train(`seed=${seed}`)).status, 0);
const { child: server, address } = await serve();
const browser = await chromium();
let training;

/** The cells of the rows that are shown, by the name of the run. */
const table = () =>
  evaluate(browser, `Object.fromEntries([...document.querySelectorAll("#body tr")].map((row) =>
    [row.querySelector("th").textContent, [...row.cells].map((cell) => cell.textContent)]))`);
const names = async () => Object.keys(await table());
const click = (selector) => evaluate(browser, `document.querySelector(${JSON.stringify(selector)}).click()`);
const choose = (id, value, event = "input") =>
  evaluate(browser, `{ const it = document.getElementById("${id}"); it.value = ${JSON.stringify(value)}; it.dispatchEvent(new Event("${event}", { bubbles: true })); }`);

/** Waits until something is so, and returns it. */
async function until(what, look, seconds = 90) {
  const started = performance.now();
  for (;;) {
    const found = await look();
    if (found) return found;
    assert(performance.now() - started < 1000 * seconds, `waited for ${what}: ${JSON.stringify(await table())}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Opens a link, and waits until its page is drawn. */
async function follow(selector) {
  const loaded = browser.once("Page.loadEventFired");
  await click(selector);
  await loaded;
}

async function picture(name) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  const { data } = await browser.send("Page.captureScreenshot", { captureBeyondViewport: true });
  writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, "base64"));
}

/** Pictures of a page as it is seen by day and by night, on a desk and in a hand. */
async function allPictures(name, address) {
  for (const [how, as] of Object.entries({ light: {}, dark: { dark: true }, narrow: { width: 400 } })) {
    await open(browser, address, as);
    await until("rows or a page", () => evaluate(browser, "document.querySelectorAll('tbody tr').length > 0"));
    const wider = await evaluate(browser, "document.documentElement.scrollWidth - innerWidth");
    assert(wider <= 0, `${name}, ${how}: ${wider} pixels wider than the window`);
    await picture(`${name}-${how}`);
  }
}

try {
  await open(browser, address);
  const two = await until("two finished runs", async () => {
    const rows = await table();
    return Object.values(rows).filter((cells) => cells[2] === "finished").length === 2 && rows;
  });
  // A training appears, goes on and ends, without a reload.
  await evaluate(browser, "window.sameDocument = true");
  training = spawn(program, train("seed=2", "train.steps=30000", "checkpoints.every=2000", "train.log_every=20"), { stdio: "ignore" });
  const name = await until("a third run", async () => (await names()).find((name) => !(name in two)));
  const step = async () => Number((await table())[name][3].split(" of ")[0].replaceAll(",", ""));
  await until("that it is running", async () => (await table())[name][2].startsWith("running"));
  const first = await until("a step", step);
  await until("later steps", async () => (await step()) > first);
  await until("the time that is left", async () => /^\d+ (s|min)$/.test((await table())[name][4]));
  await allPictures("list", address);
  // Its page gets its newer checkpoints, and keeps what is chosen.
  await follow(`#body tr.running th a`);
  await evaluate(browser, "window.sameDocument = true");
  const places = () => evaluate(browser, "Number(document.getElementById('place').max)");
  const before = await places();
  await evaluate(browser, `{ const s = document.getElementById("place"); s.value = 1; s.dispatchEvent(new Event("input")); }`);
  await until("a newer checkpoint", async () => (await places()) > before);
  assert.equal(await evaluate(browser, "document.getElementById('place').value"), "1", "the slider stays");
  assert(await evaluate(browser, "window.sameDocument"), "the page was not loaded again");
  assert.equal(await evaluate(browser, "document.getElementById('news').textContent"), "Kept up to date");
  await picture("run");
  await follow("#list");
  await until("that it is finished", async () => (await table())[name]?.[2] === "finished");
  // Sorted, filtered, compared.
  await click("[data-column=seed]");
  const seeds = Object.values(await table()).map((cells) => cells.at(-2) + "/" + cells.at(-1));
  await click("[data-column=seed]");
  assert.deepEqual((await names()).length, 3);
  assert.notDeepEqual(Object.values(await table()).map((cells) => cells.at(-2) + "/" + cells.at(-1)), seeds, "the order is turned");
  await choose("field", "train.steps", "change");
  await choose("relation", ">=");
  await choose("value", "1000");
  await click("#add");
  assert.deepEqual(await names(), [name], "one run has so many steps");
  await open(browser, await evaluate(browser, "location.href"));
  await until("the same list from the address", async () => JSON.stringify(await names()) === JSON.stringify([name]));
  await click("#filters button");
  await until("all runs", async () => (await names()).length === 3);
  for (const row of [1, 2]) await click(`#body tr:nth-child(${row}) input`);
  assert.equal(await evaluate(browser, "document.getElementById('chosen').textContent"), "2 chosen");
  await picture("chosen");
  const differences = await evaluate(browser, "document.getElementById('differences').href");
  await follow("#compare");
  assert.equal(await evaluate(browser, "document.querySelectorAll('#run option').length"), 2, "two runs on one page");
  assert.equal(await evaluate(browser, "document.querySelectorAll('#beside input:checked').length"), 1, "with the curves of both");
  await picture("compared");
  await open(browser, differences);
  assert(await evaluate(browser, "[...document.querySelectorAll('tbody th')].some((cell) => cell.textContent === 'seed')"));
  await picture("differences");
  // A run that goes is gone from the list, and its page says so.
  const [gone] = readdirSync(folder);
  await open(browser, address);
  await until("that run", async () => (await names()).includes(gone));
  rmSync(join(folder, gone), { recursive: true });
  await until("that it is gone", async () => !(await names()).includes(gone));
  assert.deepEqual(browser.errors, [], "nothing is written to the console");
  await open(browser, `${address}explore?run=${gone}`);
  assert.match(await evaluate(browser, "document.body.textContent"), /There is no run/);
  console.log(`a training was followed from step ${first} to its end; sorted, filtered, compared; no console message`);
} finally {
  await browser.close();
  training?.kill();
  server.kill();
  rmSync(folder, { recursive: true, force: true });
}
