import "server-only";
import { cookies, headers } from "next/headers";
import { NextResponse } from "next/server";
import createClient from "openapi-fetch";
import type { paths } from "@/lib/schema";

const baseUrl = process.env.API_URL ?? "http://127.0.0.1:8000";
const DJANGO_COOKIES = ["sessionid", "csrftoken"];
const PASSED_ON = ["Origin", "X-Forwarded-For"];
const TIMEOUT_MS = 10_000;
const YEAR_SECONDS = 31_536_000;

/** Sends no cookies, so that Next.js may keep one answer for all visitors, for the minute that the API allows. */
export const publicApi = createClient<paths>({
  baseUrl,
  fetch: (request) => send(request, { next: { revalidate: 60 } }),
});

export const api = createClient<paths>({ baseUrl, fetch: sendAsVisitor });

async function sendAsVisitor(request: Request): Promise<Response> {
  const isWrite = request.method !== "GET";
  if (isWrite) {
    request.headers.set("X-CSRFToken", await csrfToken());
    const incoming = await headers();
    PASSED_ON.forEach((name) => incoming.has(name) && request.headers.set(name, incoming.get(name) ?? ""));
  }
  const jar = await cookies();
  const sent = DJANGO_COOKIES.filter((name) => jar.has(name)).map((name) => `${name}=${jar.get(name)?.value}`);
  request.headers.set("Cookie", sent.join("; "));
  const response = await send(request, { cache: "no-store" });
  if (isWrite) {
    await keepCookies(response);
  }
  return response;
}

/** Sends the body as text: that of a `Request` goes out without its length. An API that is away is a 503. */
async function send(request: Request, options: RequestInit): Promise<Response> {
  const { url, method, headers } = request;
  const body = method === "GET" ? null : await request.text();
  try {
    return await fetch(url, { method, headers, body, signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof DOMException && error.name === "TimeoutError")) {
      throw error; // Next.js throws, too, and wants its errors back
    }
    console.error(`The API can't be reached for ${new URL(url).pathname}: ${error.message}`);
    const failure = { code: "service_unavailable", message: "The service is not available at the moment." };
    return Response.json({ error: failure }, { status: 503, headers: { "Retry-After": "5" } });
  }
}

/** The token of the visitor's cookie; the first write of a visitor fetches one. */
async function csrfToken(): Promise<string> {
  const token = (await cookies()).get("csrftoken")?.value;
  if (token) {
    return token;
  }
  const { data, response } = await api.GET("/api/auth/csrf/");
  await keepCookies(response);
  return data?.csrf_token ?? "";
}

/**
 * Hands Django's cookies to the visitor. Next.js allows it in server actions and route handlers only: a read can't hand on a session
 * that Django has renewed. So the cookie stays for a year, and Django decides for how long it is worth something.
 */
async function keepCookies({ headers }: Response) {
  const jar = await cookies();
  const received = new NextResponse(null, { headers }).cookies.getAll();
  for (const cookie of received.filter(({ name }) => DJANGO_COOKIES.includes(name))) {
    const life = cookie.maxAge ? { maxAge: YEAR_SECONDS, expires: undefined } : {};
    jar.set({ ...cookie, ...life, httpOnly: true });
  }
}
