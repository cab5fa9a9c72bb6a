// Takes pictures of a page: `node tests/browser/screenshots.mjs RUN/explore.html FOLDER`.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, evaluate, open } from "./chromium.mjs";

const [page, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await chromium();
const save = (name, { data }) => writeFileSync(join(folder, name), Buffer.from(data, "base64"));
try {
  for (const [name, how] of Object.entries({ light: {}, dark: { dark: true }, narrow: { width: 400 } })) {
    console.log(name, Math.round(await open(browser, pathToFileURL(page).href, how)), "ms");
    const widest = await evaluate(browser, "document.documentElement.scrollWidth - innerWidth");
    if (widest > 0) console.log(`${name}: ${widest} pixels wider than the window`);
    save(`${name}.png`, await browser.send("Page.captureScreenshot", { captureBeyondViewport: true }));
  }
  await open(browser, pathToFileURL(page).href, { dark: true });
  save("print.pdf", await browser.send("Page.printToPDF", { printBackground: true }));
  console.log(browser.errors.length ? browser.errors.join("\n") : "no console message");
} finally {
  await browser.close();
}
