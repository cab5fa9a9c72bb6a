// What a page of `explore` must show, read from the tables of its run.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { evaluate } from "./chromium.mjs";

/** The rows of a table by the names of its columns. */
export function table(run, name) {
  const cells = (line) => [...line.matchAll(/("([^"]*)"|([^,]*))(,|$)/g)].map((found) => found[2] ?? found[3]);
  const [header, ...lines] = readFileSync(join(run, name), "utf8").trim().split("\n").map(cells);
  return lines.map((line) => Object.fromEntries(header.map((column, index) => [column, line[index]])));
}

/** As the page rounds: to thousandths, half away from zero. */
const rounded = (value) => (Math.round(1000 * Number(value)) / 1000).toFixed(3);
const withInterval = (value, { lo, hi }) => `${rounded(value)} [${rounded(lo)}, ${rounded(hi)}]`;

/** Names of controls on the page, and what they add to a probe's name in the table. */
const CONTROLS = { "permuted labels": "shuffled", "untrained model": "untrained", "permuted answers": "permuted_answers", "bag of answers": "bag" };

/** Tables of a run, read once: `score` and `answer` say what the page must show of a concept at a place. */
export function tablesOf(run, isOfText = false) {
  const scores = table(run, "cd.csv");
  const answers = table(run, isOfText ? "accuracy.csv" : "metrics.csv");
  const concept = (name) => (name === "all concepts" ? "" : name);
  const score = ({ step, layer, token, probe }, name) => {
    const control = CONTROLS[name];
    const wanted = { step, token, probe: control ? `${probe}_${control}` : probe, concept: control ? "" : concept(name), layer: control === "bag" ? "0" : layer };
    const row = scores.find((row) => Object.entries(wanted).every(([column, value]) => row[column] === String(value)));
    return row ? withInterval(row.score, row) : "–";
  };
  const answer = ({ step, token }, name) => {
    const at = (row) => row.step === String(step) && row.concept === concept(name);
    if (!isOfText) return rounded(answers.find((row) => at(row) && row.split === "eval" && row.position === "").relative_mse);
    const row = answers.find((row) => at(row) && Number(row.shots) === Number(token.slice(1)) - 1);
    return withInterval(row.accuracy, row);
  };
  const levels = isOfText ? [] : table(run, "baselines.csv").filter((row) => row.concept === "" && row.position === "");
  return { score, answer, chance: Number(scores[0].chance).toFixed(3), levels: levels.map((row) => Number(row.relative_mse).toFixed(3)) };
}

/** Text as the page has it, without spaces that keep a line together. */
export const plain = (text) => text.replaceAll("\u00a0", " ").trim();

/** What is chosen, as the tables name it. */
export async function chosen(browser) {
  const said = Object.fromEntries(new URLSearchParams(await evaluate(browser, "location.hash.slice(1)")));
  return (await evaluate(browser, "chosenRun().over_layers")) ? { ...said, step: "0", layer: said.at } : { ...said, step: said.at };
}

/** Compares every number below the curves with the tables, and returns how many rows these are. */
export async function compareNumbers(browser, tables) {
  const at = await chosen(browser);
  const rows = await evaluate(browser, "[...document.querySelectorAll('#readout tr')].map((row) => [row.className, ...[...row.cells].map((cell) => cell.textContent)])");
  const levels = [];
  for (const [kind, name, score, answer] of rows.map((row) => row.map(plain))) {
    if (kind !== "level") assert.deepEqual([score, answer], [tables.score(at, name), tables.answer(at, name)], name);
    else if (name === "chance") assert.equal(score, tables.chance);
    else if (score) assert.equal(score, tables.score(at, name), name);
    else levels.push(answer);
  }
  assert.deepEqual(levels, tables.levels);
  return rows.length;
}
