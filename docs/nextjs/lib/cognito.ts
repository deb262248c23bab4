import "server-only";
import { createHash, randomBytes } from "node:crypto";
import { cookies } from "next/headers";
import { redirect } from "next/navigation";
import { type NextRequest, NextResponse } from "next/server";
import { pageAfter } from "@/lib/next";
import { send } from "@/lib/send";

type Tokens = { id_token: string; refresh_token?: string };

export const isCognito = process.env.IDENTITY_PROVIDER === "cognito";

const { SITE_URL = "", COGNITO_DOMAIN = "", COGNITO_CLIENT_ID = "", COGNITO_CLIENT_SECRET = "" } = process.env;
const CALLBACK_URL = `${SITE_URL}/cognito/callback`;
const IS_SECURE = SITE_URL.startsWith("https:");
const PREFIX = IS_SECURE ? "__Host-" : ""; // browsers take such cookies from this very host only
const ID_TOKEN = `${PREFIX}id_token`;
const REFRESH_TOKEN = `${PREFIX}refresh_token`;
const SIGN_IN = `${PREFIX}sign_in`;
const REFRESH_BEFORE_SECONDS = 300;
const SIGN_IN_SECONDS = 600;
const REFRESH_TOKEN_SECONDS = 30 * 86_400; // as the pool's client has it

/** Sends the visitor to the hosted sign-in, and keeps what shows that the one who comes back is the same. */
export async function beginSignIn({ nextUrl }: NextRequest): Promise<never> {
  const jar = await cookies();
  const [state, nonce, verifier] = [randomText(), randomText(), randomText()];
  const next = pageAfter(nextUrl.searchParams.get("next") ?? "");
  jar.set(cookie(SIGN_IN, [state, nonce, verifier, next].join(" "), SIGN_IN_SECONDS));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: COGNITO_CLIENT_ID,
    redirect_uri: CALLBACK_URL,
    scope: "openid email profile",
    state,
    nonce,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  redirect(`${COGNITO_DOMAIN}/oauth2/authorize?${query}`);
}

/** Exchanges the code for tokens. Their signature is Django's to check; the nonce is known here only. */
export async function endSignIn({ nextUrl }: NextRequest): Promise<never> {
  const jar = await cookies();
  const [state, nonce, verifier = "", next] = (jar.get(SIGN_IN)?.value ?? "").split(" ");
  jar.set(cookie(SIGN_IN, "", 0));
  const code = nextUrl.searchParams.get("code");
  if (!state || !code || nextUrl.searchParams.get("state") !== state) {
    redirect("/signin?failed=true");
  }
  const grant = { grant_type: "authorization_code", code, redirect_uri: CALLBACK_URL, code_verifier: verifier };
  const response = await post("/oauth2/token", grant);
  const tokens: Tokens = response.ok ? await response.json() : { id_token: "" };
  if (claimsOf(tokens.id_token).nonce !== nonce) {
    redirect("/signin?failed=true");
  }
  held(tokens).forEach((token) => jar.set(token));
  redirect(pageAfter(next));
}

export async function idToken() {
  return (await cookies()).get(ID_TOKEN)?.value;
}

/** Refreshes a token that ends soon, for this request and those to come. `proxy.ts` does it, for a page can't set cookies. */
export async function refreshInTime(request: NextRequest): Promise<NextResponse> {
  const refresh_token = request.cookies.get(REFRESH_TOKEN)?.value;
  const { exp = 0 } = claimsOf(request.cookies.get(ID_TOKEN)?.value);
  if (!refresh_token || exp - Date.now() / 1000 > REFRESH_BEFORE_SECONDS) {
    return NextResponse.next();
  }
  const response = await post("/oauth2/token", { grant_type: "refresh_token", refresh_token });
  const isRefused = response.status === 400;
  if (!response.ok && !isRefused) {
    return NextResponse.next(); // the old token is good for some minutes yet
  }
  const tokens: Tokens = isRefused ? NONE : await response.json();
  const changed = held({ refresh_token, ...tokens });
  changed.forEach((token) => request.cookies.set(token));
  const next = NextResponse.next({ request });
  changed.forEach((token) => next.cookies.set(token));
  return next;
}

/** Ends the session here, and returns where it ends at Cognito. */
export async function signOutOfCognito() {
  const jar = await cookies();
  await post("/oauth2/revoke", { token: jar.get(REFRESH_TOKEN)?.value ?? "" });
  held(NONE).forEach((token) => jar.set(token));
  const query = new URLSearchParams({ client_id: COGNITO_CLIENT_ID, logout_uri: `${SITE_URL}/signin` });
  return `${COGNITO_DOMAIN}/logout?${query}`;
}

const NONE = { id_token: "", refresh_token: "" };

/** The cookies that hold the tokens, or end. No script of a page can read them. */
function held({ id_token, refresh_token = "" }: Tokens) {
  const tokens = { [ID_TOKEN]: id_token, [REFRESH_TOKEN]: refresh_token };
  return Object.entries(tokens).map(([name, value]) => cookie(name, value, value ? REFRESH_TOKEN_SECONDS : 0));
}

function cookie(name: string, value: string, maxAge: number) {
  const expires = new Date(maxAge && Date.now() + maxAge * 1000); // Next.js loses a `Max-Age` of 0 on the way from `proxy.ts`
  return { name, value, maxAge, expires, httpOnly: true, secure: IS_SECURE, sameSite: "lax" as const, path: "/" };
}

function randomText() {
  return randomBytes(32).toString("base64url");
}

async function post(path: string, body: Record<string, string>) {
  const authorization = `Basic ${Buffer.from(`${COGNITO_CLIENT_ID}:${COGNITO_CLIENT_SECRET}`).toString("base64")}`;
  const headers = { Authorization: authorization };
  const request = new Request(COGNITO_DOMAIN + path, { method: "POST", headers, body: new URLSearchParams(body) });
  return send(request, { cache: "no-store", redirect: "error" });
}

/** What a token says, unverified; one that can't be read says nothing. */
function claimsOf(token = ""): { exp?: number; nonce?: string } {
  try {
    return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  } catch {
    return {};
  }
}
