// A headless Chromium, asked over a pipe: no library is needed.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Starts Chromium and returns `{send, once, errors, requests, close}`: what the page wrote to its console or threw, and what it asked for. */
export async function chromium() {
  const profile = mkdtempSync(join(tmpdir(), "explore-"));
  const options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
  const child = spawn(process.env.CHROMIUM ?? "chromium", [...options, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const [waiting, listeners, errors, requests] = [new Map(), new Map(), [], []];
  let [number, rest, session] = [0, "", undefined];
  const take = (message) => {
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      message.error ? reject(new Error(message.error.message)) : resolve(message.result);
    }
    if (message.method === "Runtime.exceptionThrown") errors.push(message.params.exceptionDetails.exception?.description ?? "exception");
    if (message.method === "Runtime.consoleAPICalled" || message.method === "Log.entryAdded") errors.push(JSON.stringify(message.params));
    if (message.method === "Network.requestWillBeSent") requests.push(message.params.request.url);
    listeners.get(message.method)?.(message.params);
  };
  child.stdio[4].on("data", (bytes) => {
    const messages = (rest + bytes).split("\0");
    rest = messages.pop();
    messages.forEach((message) => take(JSON.parse(message)));
  });
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++number, { resolve, reject });
      child.stdio[3].write(JSON.stringify({ id: number, method, params, sessionId: session }) + "\0");
    });
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  session = (await send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  for (const part of ["Page", "Runtime", "Log", "Network", "Accessibility"]) await send(`${part}.enable`);
  const once = (event) => new Promise((resolve) => listeners.set(event, resolve));
  const close = async () => {
    child.kill();
    await new Promise((resolve) => child.on("exit", resolve));
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { send, once, errors, requests, close };
}

/** How a page is shown: in light or dark, on a screen or on paper. */
export const showAs = (browser, { dark = false, print = false }) =>
  browser.send("Emulation.setEmulatedMedia", { media: print ? "print" : "", features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });

/** Opens a page at a width, in light or dark, and returns the milliseconds until it is drawn. */
export async function open(browser, url, { width = 1400, dark = false } = {}) {
  await browser.send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: false });
  await showAs(browser, { dark });
  const load = async (url) => {
    const loaded = browser.once("Page.loadEventFired");
    await browser.send("Page.navigate", { url });
    await loaded;
  };
  // An address that differs behind its # alone would load nothing.
  await load("about:blank");
  const started = performance.now();
  await load(url);
  await drawn(browser);
  return performance.now() - started;
}

export async function evaluate(browser, expression) {
  const { result, exceptionDetails } = await browser.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

/** Waits until what has changed is on the screen. */
export const drawn = (browser) => evaluate(browser, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");

const KEYS = { Tab: 9, " ": 32, End: 35, Home: 36, ArrowLeft: 37, ArrowRight: 39, ArrowDown: 40 };

/** Presses a key and lets it go. */
export async function press(browser, key) {
  const pressed = { key, code: key === " " ? "Space" : key, windowsVirtualKeyCode: KEYS[key] };
  await browser.send("Input.dispatchKeyEvent", { ...pressed, type: "rawKeyDown" });
  if (key === " ") await browser.send("Input.dispatchKeyEvent", { ...pressed, type: "char", text: key });
  await browser.send("Input.dispatchKeyEvent", { ...pressed, type: "keyUp" });
}

/** Moves the pointer to a place in the window. */
export async function pointAt(browser, [x, y]) {
  await browser.send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
  await drawn(browser);
}
