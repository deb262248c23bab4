import "server-only";
import { cookies, headers } from "next/headers";
import { NextResponse } from "next/server";
import createClient from "openapi-fetch";
import { idToken, isCognito } from "@/lib/cognito";
import type { paths } from "@/lib/schema";
import { send } from "@/lib/send";

const baseUrl = process.env.API_URL ?? "http://127.0.0.1:8000";
const DJANGO_COOKIES = ["sessionid", "csrftoken"];
const PASSED_ON = ["Origin", "X-Forwarded-For"];
const YEAR_SECONDS = 31_536_000;

/** Sends no cookies, so that Next.js may keep one answer for all visitors, for the minute that the API allows. */
export const publicApi = createClient<paths>({
  baseUrl,
  fetch: (request) => send(request, { next: { revalidate: 60 } }),
});

export const api = createClient<paths>({ baseUrl, fetch: isCognito ? sendWithToken : sendAsVisitor });

/** Under Cognito: the API asks for neither cookies nor a CSRF token beside it. */
async function sendWithToken(request: Request): Promise<Response> {
  const token = await idToken();
  if (token) {
    request.headers.set("Authorization", `Bearer ${token}`);
  }
  return send(request, { cache: "no-store" });
}

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
