// Both ends of the site: the visitor's window with its cookie jar, and stubs of what only a Next.js server has.
import { AsyncLocalStorage } from "node:async_hooks";
import { JSDOM } from "jsdom";
import { NextRequest, NextResponse } from "next/server";

type Exchange = { request: NextRequest; response: NextResponse; isAction: boolean };
type Action = (...values: unknown[]) => Promise<unknown>;

export const SITE = "http://localhost:3000";
export const dom = new JSDOM('<!doctype html><div id="root"></div>', { url: SITE, pretendToBeVisual: true });
export const visitor = { origin: SITE };

const { window } = dom;
const { document, navigator, FormData } = window;
for (const [name, value] of Object.entries({ window, self: window, document, navigator, FormData })) {
  Object.defineProperty(globalThis, name, { value }); // Node 21 and later have a navigator of their own
}

const exchanges = new AsyncLocalStorage<Exchange>();

/** Runs server code for one request of the visitor's, whose jar gets the cookies that it sets. */
export async function serve<Result>(
  isAction: boolean,
  work: (request: NextRequest) => Promise<Result>,
  url = new URL(window.location.href),
): Promise<Result> {
  const headers = new Headers({ cookie: dom.cookieJar.getCookieStringSync(SITE) });
  if (isAction) {
    headers.set("origin", visitor.origin);
  }
  await passProxy(url, headers);
  const request = new NextRequest(url, { headers });
  const exchange = { request, response: new NextResponse(), isAction };
  try {
    return await exchanges.run(exchange, () => work(request));
  } finally {
    keepCookies(exchange.response);
  }
}

/** Does what Next does in front of pages and actions: proxy.ts may change the request's cookies, and the visitor's. */
async function passProxy(url: URL, headers: Headers) {
  const { config, proxy } = await import("@/proxy");
  if (new RegExp(`^${config.matcher}$`).test(url.pathname)) {
    const response = await proxy(new NextRequest(url, { headers }));
    const changed = response.headers.get("x-middleware-request-cookie");
    if (changed !== null) {
      headers.set("cookie", changed);
    }
    keepCookies(response);
  }
}

function keepCookies({ headers }: Response) {
  headers.getSetCookie().forEach((cookie) => dom.cookieJar.setCookieSync(cookie, SITE));
}

/** Returns a module's functions as the browser gets them: each call is a request, and copies what it carries. */
export function asServerActions(exports: Record<string, Action>) {
  const actions = Object.entries(exports).map(([name, action]) => {
    if (action.constructor.name !== "AsyncFunction") {
      throw new Error(`A "use server" file may export async functions only, and ${name} is none.`);
    }
    const call: Action = (state, form) => serve(true, () => action(structuredClone(state), form));
    return [name, async (...values: unknown[]) => structuredClone(await call(...values))] as const;
  });
  return Object.fromEntries(actions);
}

/** Stands for Next's `cookies`: they can be read anywhere, and set in an action only. */
export async function cookies() {
  const { request, response, isAction } = currentExchange();
  return {
    has: (name: string) => response.cookies.has(name) || request.cookies.has(name),
    get: (name: string) => response.cookies.get(name) ?? request.cookies.get(name),
    set: (cookie: Parameters<typeof response.cookies.set>[0] & object) => {
      if (!isAction) {
        throw new Error("Cookies can only be modified in a Server Action or Route Handler.");
      }
      response.cookies.set(cookie);
    },
  };
}

/** Stands for Next's `headers`. */
export async function headers() {
  return currentExchange().request.headers;
}

function currentExchange() {
  const exchange = exchanges.getStore();
  if (!exchange) {
    throw new Error("`cookies` and `headers` were called outside a request scope.");
  }
  return exchange;
}
