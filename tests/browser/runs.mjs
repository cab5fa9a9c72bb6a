// Runs that the tests of a page look at, made from nothing in about a minute.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SWEEP = 'extends = "smoke"\nname = "seeds"\nseeds = [0, 1]\n';
const TEXT = ["task.bits=2", "task.shots=[0,1,2]", "eval.prompts_per_concept=4", "probe.prompts_per_concept=6", "probe.resamples=3", "probe.neighbours=3", "probe.folds=3"];
/** 100 checkpoints, 4 concepts with 100 states each, 13 layers, 2 tokens, every probe. */
const BIG = ["name=big", "task.d_x=8", "task.bases.blocks.count=4", "model.n_layers=12", "train.steps=99", "checkpoints.every=1", "probe.prompts_per_concept=100", "probe.resamples=2"];

/** Makes the runs and their pages: `{seeds, sweep, text, big, remove()}`, folders all of them, `seeds` one for each of the sweep's. */
export function makeRuns(program) {
  const folder = mkdtempSync(join(tmpdir(), "explore-runs-"));
  const [sweep, file] = [join(folder, "seeds"), join(folder, "seeds.toml")];
  const make = (...words) => {
    const { status, stderr } = spawnSync(program, words, { encoding: "utf8" });
    assert.equal(status, 0, `${words.join(" ")}\n${stderr}`);
  };
  const made = (where, name) => readdirSync(where).filter((found) => found.startsWith(`${name}-`)).map((found) => join(where, found));
  const set = (fields) => fields.flatMap((field) => ["--set", field]);
  writeFileSync(file, SWEEP);
  make("sweep", file, "--quiet", "--out", sweep);
  make("lm", "measure", "bitwise", "--model", "tests/pretrained/golden/smollm2", "--out", folder, ...set(TEXT));
  make("train", "smoke", "--quiet", "--out", folder, ...set(BIG));
  const [seeds, [text], [big]] = [made(sweep, "seeds"), made(folder, "bitwise"), made(folder, "big")];
  const seedOf = (run) => Number(readFileSync(join(run, "config.toml"), "utf8").match(/^seed = (\d+)/m)[1]);
  seeds.sort((a, b) => seedOf(a) - seedOf(b));
  for (const runs of [seeds[0], sweep, big]) make("explore", runs);
  make("lm", "explore", text);
  return { seeds, sweep, text, big, remove: () => rmSync(folder, { recursive: true }) };
}
