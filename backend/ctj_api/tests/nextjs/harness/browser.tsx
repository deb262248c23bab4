// What a visitor can do: open an address, fill in, press, and look.
import { dom, serve, SITE } from "./site"; // first: React looks for a window when it is loaded
import { existsSync } from "node:fs";
import { Component, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";

const TIMEOUT_MS = 10_000;

const { document, HTMLAnchorElement, HTMLButtonElement, HTMLInputElement, HTMLSelectElement } = dom.window;
const root = createRoot(document.body.children[0] ?? document.body, { onCaughtError: () => undefined });
let pageNumber = 0;
let failure: unknown;

/** Does with a redirect what Next's own boundary does, and keeps other errors for `see`. */
class Boundary extends Component<{ children: ReactNode }, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override componentDidCatch(error: unknown) {
    follow(error).catch((reason: unknown) => {
      failure = reason;
    });
  }

  override render() {
    return this.state.hasFailed ? null : this.props.children;
  }
}

/** Opens the address that Next's `redirect` threw; throws any other error again. */
async function follow(error: unknown) {
  if (error instanceof Error && "digest" in error && String(error.digest).startsWith("NEXT_REDIRECT;")) {
    await open(String(error.digest).split(";")[2] ?? "");
  } else {
    throw error;
  }
}

/** Renders `app/<path>/page.tsx`, or goes where `app/<path>/route.ts` or another site leads. */
export async function open(address: string) {
  const url = new URL(address, SITE);
  if (url.origin !== SITE) {
    const response = await fetch(url, { redirect: "manual" });
    await open(response.headers.get("location") ?? "");
    return;
  }
  const params: Record<string, string[]> = {};
  for (const [name, value] of url.searchParams) {
    (params[name] ??= []).push(value);
  }
  const searchParams = Promise.resolve(
    Object.fromEntries(Object.entries(params).map(([name, values]) => [name, values.length > 1 ? values : values[0]])),
  );
  try {
    if (existsSync(`${__dirname}/../app${url.pathname}/route.ts`)) {
      const { GET } = await import(`@/app${url.pathname}/route`);
      await serve(true, GET, url);
      return;
    }
    const { default: Page } = await import(`@/app${url.pathname}/page`);
    const page = await serve(false, async () => Page({ searchParams }), url);
    dom.reconfigure({ url: url.href });
    flushSync(() => root.render(<Boundary key={++pageNumber}>{page}</Boundary>));
  } catch (error) {
    await follow(error);
  }
}

export function address() {
  return dom.window.location.href.slice(SITE.length);
}

export function text() {
  return (document.body.textContent ?? "").replace(/\s+/g, " ");
}

/** Waits until the page says so. */
export async function see(...expected: string[]) {
  const deadline = Date.now() + TIMEOUT_MS;
  for (const part of expected) {
    while (!text().includes(part)) {
      if (failure || Date.now() > deadline) {
        throw failure ?? new Error(`"${part}" is not on the page ${address()}, but: ${text()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Returns the input or select that people know by this name. */
export function control(label: string) {
  const named = [...document.querySelectorAll("label")].find((element) => ownText(element) === label)?.control;
  const found = named ?? document.querySelector(`[aria-label="${label}"]`);
  if (found instanceof HTMLInputElement || found instanceof HTMLSelectElement) {
    return found;
  }
  throw failure ?? new Error(`There is no field "${label}" on the page: ${text()}`);
}

export function fill(label: string, value: string) {
  control(label).value = value;
}

/** Chooses what people read in a select. */
export function pick(label: string, option: string) {
  const found = [...control(label).querySelectorAll("option")].find(({ label }) => label === option);
  fill(label, found?.value ?? "");
}

/** Presses a button or follows a link. */
export async function press(name: string) {
  const found = [...document.querySelectorAll("a, button")].find((element) => element.textContent === name);
  if (found instanceof HTMLAnchorElement) {
    await open(found.href);
  } else if (found instanceof HTMLButtonElement && found.form?.hasAttribute("action") === false) {
    const query = [...new FormData(found.form)].map(([key, value]) => [key, String(value)]);
    await open(`${dom.window.location.pathname}?${new URLSearchParams(query)}`);
  } else if (found instanceof HTMLButtonElement) {
    found.click();
  } else {
    throw failure ?? new Error(`There is nothing to press by the name "${name}" on the page: ${text()}`);
  }
}

function ownText(label: HTMLLabelElement) {
  const texts = [...label.childNodes].filter(({ nodeType }) => nodeType === dom.window.Node.TEXT_NODE);
  return texts.map(({ textContent }) => textContent).join("").trim();
}
