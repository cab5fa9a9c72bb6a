// Keeps a page up to date that came from a server. What is chosen stays chosen; who is at the end follows it.

/** Milliseconds between two questions. */
const PAUSE = 3000;

function say(text) {
  if (element("news").textContent !== text) element("news").textContent = text;
}

/** Whether the last checkpoint is shown. */
const isAtEnd = () => !chosenRun().over_layers && selection.place === placesOn(chosenRun()).at(-1);

/** Shows other data in place of what was shown. */
function renew({ version, exploration }) {
  const follows = isAtEnd() && !playing;
  SOURCE.version = version;
  RUNS.splice(0, RUNS.length, ...exploration.runs);
  complete();
  if (follows && !chosenRun().over_layers) selection.place = placesOn(chosenRun()).at(-1);
  fillControls();
  update();
}

async function ask() {
  try {
    const answer = await fetch(`${SOURCE.data}&since=${SOURCE.version}`);
    if (answer.status === 200) renew(await answer.json());
    say(answer.ok ? "Kept up to date" : `Not up to date: ${await answer.text()}`);
  } catch {
    say("Not up to date: the server does not answer");
  }
  setTimeout(ask, PAUSE);
}

element("list").href = SOURCE.list;
say("Kept up to date");
setTimeout(ask, PAUSE);
