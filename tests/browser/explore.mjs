// Moves the slider of RUN/explore.html and holds the numbers shown to cd.csv and metrics.csv: `node tests/browser/explore.mjs RUN`.
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, evaluate, open } from "./chromium.mjs";

const [run] = process.argv.slice(2);
const page = join(run, "explore.html");

/** The rows of a table by the names of its columns. */
function table(name) {
  const cells = (line) => [...line.matchAll(/("([^"]*)"|([^,]*))(,|$)/g)].map((found) => found[2] ?? found[3]);
  const [header, ...lines] = readFileSync(join(run, name), "utf8").trim().split("\n").map(cells);
  return lines.map((line) => Object.fromEntries(header.map((column, index) => [column, line[index]])));
}

/** As the page rounds: to thousandths, half away from zero. */
const shown = (value) => (Math.round(1000 * Number(value)) / 1000).toFixed(3);

const browser = await chromium();
try {
  const opening = await open(browser, pathToFileURL(page).href);
  const size = statSync(page).size;
  console.log(`opens in ${Math.round(opening)} ms, ${(size / 1e6).toFixed(2)} MB`);
  assert(opening < 2000 && size < 5e6);
  const [cd, errors] = [table("cd.csv"), table("metrics.csv")];
  const places = await evaluate(browser, "Number(document.getElementById('place').max)");
  let compared = 0;
  for (const place of new Set([0, Math.floor(places / 2), places])) {
    await evaluate(browser, `{ const s = document.getElementById("place"); s.value = ${place}; s.dispatchEvent(new Event("input")); }`);
    const seen = new URLSearchParams(await evaluate(browser, "location.hash.slice(1)"));
    const rows = await evaluate(browser, "[...document.querySelectorAll('#readout tr:not(.level)')].map((row) => [...row.cells].map((cell) => cell.textContent.trim()))");
    for (const [name, score, error] of rows) {
      const concept = name === "all concepts" ? "" : name;
      const at = (row) => row.step === seen.get("at") && row.concept === concept;
      const row = cd.find((row) => at(row) && row.layer === seen.get("layer") && row.token === seen.get("token") && row.probe === seen.get("probe"));
      assert.equal(score, `${shown(row.score)} [${shown(row.lo)}, ${shown(row.hi)}]`);
      assert.equal(error, shown(errors.find((row) => at(row) && row.position === "").relative_mse));
      compared += 1;
    }
  }
  const before = await evaluate(browser, "location.href");
  await open(browser, before);
  assert.equal(await evaluate(browser, "location.href"), before, "the address brings back what was shown");
  assert.deepEqual(browser.errors, [], "nothing is written to the console");
  console.log(`${compared} rows agree with the tables; no console message`);
} finally {
  await browser.close();
}
