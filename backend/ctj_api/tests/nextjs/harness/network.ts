// What goes from the site to its servers, for a test to look at and to cut off.
import assert from "node:assert/strict";
import { answer } from "./hosted";
import { dom, SITE } from "./site";

type Call = {
  path: string;
  headers: Headers;
  cookies: string[];
  cache: RequestCache | undefined;
  revalidate: unknown;
};

export const calls: Call[] = [];
export const network = { away: "none" }; // the beginning of the addresses that can't be reached
export const DOMAIN = process.env["COGNITO_DOMAIN"] ?? "none";

const fetchOverNetwork = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const request = input instanceof Request ? takenApart(input) : new Request(input, init);
  const names = (request.headers.get("cookie") ?? "").split("; ").map((pair) => pair.replace(/=.*/, ""));
  calls.push({
    path: new URL(request.url).pathname,
    headers: request.headers,
    cookies: names.filter(Boolean).sort(),
    cache: init?.cache,
    revalidate: init?.next?.revalidate,
  });
  if (request.url.startsWith(network.away)) {
    throw new TypeError("fetch failed");
  }
  return request.url.startsWith(DOMAIN) ? answer(request) : fetchOverNetwork(request);
};

/** Does what Next's own `fetch` does with a request: its body becomes a stream, and is sent without its length. */
function takenApart({ url, method, headers, body }: Request) {
  const options: RequestInit & { duplex: string } = { method, headers, body, duplex: "half" };
  return new Request(url, options);
}

export function callsTo(path: string) {
  return calls.filter((made) => made.path === path);
}

export function lastCall(path: string) {
  const call = callsTo(path).at(-1);
  assert(call, `${path} was not called.`);
  return call;
}

export function cookie(name: string) {
  return dom.cookieJar.getCookiesSync(SITE).find(({ key }) => key === name);
}

/** Runs a journey to its end, and fails with it. */
export function run(journey: () => Promise<void>) {
  const end = (error?: unknown) => {
    console.log(error ?? "The journey is done.");
    process.exit(error ? 1 : 0);
  };
  journey().then(() => end(), end);
}
