// What a visitor does in Chromium: open an address, fill in, press, and look; and what no page may do.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { AXE, CHROMIUM, PICTURES, PLAYWRIGHT, SITE } = process.env;
const { chromium } = createRequire(import.meta.url)(PLAYWRIGHT);
const WIDTHS = { wide: 1280, narrow: 390 };
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];

export const TIMEOUT_MS = 20_000;
const browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: false, args: ["--disable-dev-shm-usage"] });

/** A person with a browser of their own, at the address 203.0.113.9. */
export async function visitor() {
  const context = await browser.newContext({ baseURL: SITE, locale: "en-US", extraHTTPHeaders: { "X-Forwarded-For": "203.0.113.9" } });
  context.setDefaultTimeout(TIMEOUT_MS);
  return person(context, await context.newPage());
}

/** Tells what the pages looked like when a journey failed. */
async function explain(error) {
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    console.log(page.url(), await page.locator("body").innerText().catch(String));
  }
  console.log(error);
  process.exitCode = 1;
}

/** Plays a journey to its end, or shows where it breaks off. */
export async function play(journey) {
  try {
    await journey();
    console.log("The journey is done.");
  } catch (error) {
    await explain(error);
  } finally {
    await browser.close();
  }
  process.exit();
}

function person(context, page) {
  const mishaps = [];
  page.on("pageerror", (error) => mishaps.push(String(error)));
  page.on("console", (message) => message.type() === "error" && mishaps.push(message.text()));
  page.on("request", (request) => request.url().startsWith(SITE) || mishaps.push(`request to ${request.url()}`));
  const field = (label) => page.getByLabel(label, { exact: true }).filter({ visible: true });
  return {
    context,
    page,
    open: (path) => page.goto(path),
    press: (name, where = "main") => {
      const [button, link] = ["button", "link"].map((role) => page.getByRole(where).getByRole(role, { name, exact: true }));
      return button.or(link).first().click();
    },
    fill: async (values) => {
      for (const [label, value] of Object.entries(values)) {
        await field(label).fill(value);
      }
    },
    pick: (label, option) => field(label).selectOption({ label: option }),
    see: async (...texts) => {
      for (const text of texts) {
        await page.getByText(text).filter({ visible: true }).first().waitFor();
      }
    },
    has: async (values) => {
      for (const [label, value] of Object.entries(values)) {
        assert.equal(await field(label).inputValue(), value, label);
      }
    },
    isAt: (path) => page.waitForURL((url) => url.href === SITE + path),
    cookie: async (name) => (await context.cookies()).find((cookie) => cookie.name === name),
    /** Does something that opens a tab, in which the work goes on. */
    inNewTab: async (doing, work) => {
      const [opened] = await Promise.all([context.waitForEvent("page"), doing()]);
      await work(person(context, opened));
      await opened.close();
    },
    /** Forgets what the browser complained of, where that had to be. */
    forgive: () => mishaps.splice(0),
    /** Fails where the page is not for everybody: in words of axe, or wider than its window; keeps pictures where asked to. */
    look: async (name) => {
      for (const [size, width] of Object.entries(WIDTHS)) {
        await page.setViewportSize({ width, height: 800 });
        await page.evaluate(readFileSync(AXE, "utf8"));
        const found = await page.evaluate((values) => axe.run(document, { runOnly: { type: "tag", values } }), RULES);
        const texts = found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`));
        assert.deepEqual(texts, [], `${name}, ${size}`);
        assert(await page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth), `${name} is too wide, ${size}.`);
        if (PICTURES) {
          await page.screenshot({ path: `${PICTURES}/${name}-${size}.png`, fullPage: true });
        }
      }
      assert.deepEqual(mishaps.splice(0), [], name);
    },
  };
}
