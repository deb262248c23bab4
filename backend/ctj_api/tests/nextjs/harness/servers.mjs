// What the visitor's browser talks to: the built site, and between it and the API, what can see and disturb all that passes.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import http from "node:http";

const { API, APP, CLOCK, SITE } = process.env;
const HANDED_ON = ["content-type", "retry-after", "etag", "x-total-count", "x-match-note", "set-cookie", "link", "cache-control"];

export const calls = []; // { method, path, headers }, the newest last
export const network = { fault: undefined }; // or a function, which answers instead of the API

/** Runs a server on a free port, and returns its address. */
export async function listen(answer) {
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => answer(request, response, Buffer.concat(parts)).catch(() => response.destroy()));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}`;
}

async function between({ method, url, headers }, response, body) {
  calls.push({ method, path: url, headers });
  if (network.fault) {
    return network.fault(response);
  }
  const { connection, host, "transfer-encoding": encoding, "content-length": length, ...handedOn } = headers;
  const answer = await fetch(API + url, { method, headers: handedOn, body: body.length ? body : undefined, redirect: "manual" });
  for (const name of HANDED_ON.filter((known) => answer.headers.has(known))) {
    response.setHeader(name, name === "set-cookie" ? answer.headers.getSetCookie() : answer.headers.get(name));
  }
  response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
}

/** Starts the built site, which ends with this process. */
export async function startSite(environment = {}) {
  pass(0);
  const env = { ...process.env, API_URL: await listen(between), NODE_OPTIONS: `--require ${import.meta.dirname}/clock.cjs`, ...environment };
  const next = spawn("node_modules/.bin/next", ["start", "--port", new URL(SITE).port], { cwd: APP, env, stdio: ["ignore", "pipe", "inherit"] });
  process.on("exit", () => next.kill());
  await new Promise((resolve, reject) => {
    next.stdout.on("data", (text) => String(text).includes("Ready") && resolve());
    next.on("exit", () => reject(new Error("The site did not start.")));
  });
}

/** Lets so much time have passed for the site. */
export function pass(seconds) {
  writeFileSync(CLOCK, String(seconds * 1000));
}

export function callsTo(path, method = "GET") {
  return calls.filter((call) => call.method === method && call.path.startsWith(path));
}

export function lastCall(path, method) {
  return callsTo(path, method).at(-1);
}

export async function until(isSo) {
  for (const deadline = Date.now() + 20_000; !(await isSo()); ) {
    if (Date.now() > deadline) {
      throw new Error(`It never was so: ${isSo}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
