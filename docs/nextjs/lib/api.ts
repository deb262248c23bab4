import "server-only";
import { cookies, headers } from "next/headers";
import { NextResponse } from "next/server";
import createClient from "openapi-fetch";
import { cache } from "react";
import { idToken, isCognito } from "@/lib/cognito";
import type { paths } from "@/lib/schema";
import { send } from "@/lib/send";

const baseUrl = process.env.API_URL ?? "http://127.0.0.1:8000";
const DJANGO_COOKIES = ["sessionid", "csrftoken"];
const PASSED_ON = ["Origin", "X-Forwarded-For"];
const YEAR_SECONDS = 31_536_000;

/** Sends nothing of the visitor's, so that Next.js may keep one answer for all. */
export const publicApi = createClient<paths>({ baseUrl, fetch: (request) => send(request, keepingOf(request)) });

export const api = createClient<paths>({ baseUrl, fetch: sendAsVisitor });

/** Who is signed in, asked once for the header and the page together. */
export const readMe = cache(() => api.GET("/api/users/me/"));

/** Lists are kept under the names of their resources. A 404 would not take the place of a row that was kept. */
function keepingOf({ url }: Request): RequestInit {
  const { pathname, searchParams } = new URL(url);
  const [resource = "", id] = pathname.split("/").slice(2);
  const isEndless = searchParams.has("search") || Number(searchParams.get("offset")) > 0; // it would fill the disk
  return id || isEndless ? { cache: "no-store" } : { next: { revalidate: 60, tags: [resource] } };
}

async function sendAsVisitor(request: Request): Promise<Response> {
  const incoming = await headers();
  PASSED_ON.forEach((name) => incoming.has(name) && request.headers.set(name, incoming.get(name) ?? ""));
  if (isCognito) {
    const token = await idToken();
    if (token) {
      request.headers.set("Authorization", `Bearer ${token}`);
    }
    return send(request, { cache: "no-store" });
  }
  if (request.method === "GET") {
    return sendWithCookies(request);
  }
  const again = request.clone();
  const response = await sendWithCookies(request, (await cookies()).get("csrftoken")?.value ?? (await newToken()));
  // The cookie's token may be malformed. Where the `Origin` is wrong instead, another token wouldn't help.
  const isTokenWrong = response.status === 403 && (await response.clone().text()).includes("CSRF Failed: CSRF ");
  const last = isTokenWrong ? await sendWithCookies(again, await newToken()) : response;
  await keepCookies(last);
  return last;
}

async function sendWithCookies(request: Request, token?: string) {
  const jar = await cookies();
  const sent = DJANGO_COOKIES.map((name) => [name, encodeURIComponent(jar.get(name)?.value ?? "")] as const);
  request.headers.set("Cookie", sent.flatMap(([name, value]) => (value ? `${name}=${value}` : [])).join("; "));
  if (token !== undefined) {
    request.headers.set("X-CSRFToken", encodeURIComponent(token));
  }
  return send(request, { cache: "no-store" });
}

/** Fetched without the visitor's cookies, so that it takes the place of a malformed one. */
async function newToken() {
  await keepCookies(await send(new Request(`${baseUrl}/api/auth/csrf/`), { cache: "no-store" }));
  return (await cookies()).get("csrftoken")?.value ?? "";
}

/**
 * Hands Django's cookies to the visitor. Next.js allows it in server actions and route handlers only: a read can't hand on a session
 * that Django has renewed. So the cookie stays for a year, and Django decides for how long it is worth something. One that stays the
 * same isn't set: Next.js would draw the page anew, with what is typed in it.
 */
async function keepCookies({ headers }: Response) {
  const jar = await cookies();
  const received = new NextResponse(null, { headers }).cookies.getAll();
  for (const cookie of received.filter(({ name, value }) => DJANGO_COOKIES.includes(name) && jar.get(name)?.value !== value)) {
    const life = cookie.maxAge ? { maxAge: YEAR_SECONDS, expires: undefined } : {};
    jar.set({ ...cookie, ...life, httpOnly: true });
  }
}
