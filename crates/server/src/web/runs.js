"use strict";

// The runs of the folder as the server tells of them, asked for again and again.

/** Milliseconds between two questions. */
const PERIOD = 2000;

const element = (id) => document.getElementById(id);

/** What the server said last; its document is described in docs/serve.md. */
let list = { folder: "", problem: null, runs: [], settings: { same: {}, varying: {} } };
let tag = null;

/** A value as it is read: a text without the quotes that TOML puts around it. */
const plain = (value) => (value === undefined || !/^".*"$/s.test(value) ? value : value.slice(1, -1));

/** The value of a run's setting; undefined where it has none. */
function settingOf(run, field) {
  const varying = list.settings.varying[field];
  if (varying) return plain(varying.values[varying.of[run.place]]);
  return run.steps === null ? undefined : plain(list.settings.same[field]);
}

const fieldsOf = ({ same, varying }) => [...Object.keys(varying), ...Object.keys(same)];

/** All values of a setting, numbers in their order. */
function valuesOf(field) {
  const values = list.settings.varying[field]?.values ?? [list.settings.same[field]];
  return values.filter((value) => value !== undefined).map(plain).sort(inOrder);
}

const letters = new Intl.Collator("en", { numeric: true });

/** Numbers by size, all else by letters; what is not there comes last. */
function inOrder(a, b) {
  if (a === b) return 0;
  if (a === undefined || a === null) return 1;
  if (b === undefined || b === null) return -1;
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? letters.compare(a, b) : difference;
}

/** Seconds until a run is trained; null where that is not known. */
const secondsLeft = (run) => (run.ends === null ? null : Math.max(0, Math.round(run.ends - Date.now() / 1000)));

function inTime(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(minutes / 1440)} days`;
}

/** Says what keeps the list from being up to date; nothing hides it. */
function complain(text) {
  element("problem").hidden = !text;
  element("problem").textContent = text ?? "";
}

async function ask() {
  try {
    const answer = await fetch("/api/runs");
    if (!answer.ok) return complain(await answer.text());
    if (answer.headers.get("etag") !== tag) {
      list = await answer.json();
      list.runs.forEach((run, place) => (run.place = place));
      tag = answer.headers.get("etag");
      fillControls();
    }
    complain(list.problem);
  } catch {
    complain("The server does not answer. What is listed may be out of date.");
  }
  draw();
}

async function follow() {
  if (!document.hidden) await ask();
  setTimeout(follow, PERIOD);
}
