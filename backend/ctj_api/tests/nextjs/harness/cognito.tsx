// From the hosted sign-in and out again, through the pages of docs/nextjs.md, a live API and a pool of moto's.
import assert from "node:assert/strict";
import { address, open, pick, press, see } from "./browser";
import { pages } from "./hosted";
import { callsTo, cookie, DOMAIN, lastCall, network, run } from "./network";
import { dom, serve, SITE } from "./site";
import { api } from "@/lib/api";

const ME = "/api/users/me/";
const FAILED = "/signin?failed=true";
const clock = Date.now;

/** Lets time pass until five minutes before the token ends, and comes back after the work. */
async function later(work: () => Promise<void>) {
  Date.now = () => clock() + 3_400_000;
  await work().finally(() => {
    Date.now = clock;
  });
}

function setCookie(name: string, value = "") {
  dom.cookieJar.setCookieSync(`${name}=${value}`, SITE);
}

function valueOf(name: string) {
  return cookie(name)?.value;
}

async function signIn() {
  await open("/matches");
  assert.equal(address(), "/signin");
  await press("Sign in or sign up");
  await see("Your community of practice");
  assert.equal(cookie("sign_in"), undefined);
  for (const name of ["id_token", "refresh_token"]) {
    assert.deepEqual([cookie(name)?.httpOnly, cookie(name)?.sameSite, cookie(name)?.path], [true, "lax", "/"]);
    assert(!document.documentElement.outerHTML.includes(String(valueOf(name))), `${name} is in the page.`);
  }

  pick("Your community of practice", "Engineering");
  await press("Save and go on");
  await see("Python");
  const { headers, cookies, cache } = lastCall(ME);
  assert.equal(headers.get("authorization"), `Bearer ${valueOf("id_token")}`);
  assert.deepEqual([cookies, headers.get("x-csrftoken"), cache], [[], null, "no-store"]);
}

async function stay() {
  const first = valueOf("id_token");
  const [asked, refresh] = [callsTo("/oauth2/token").length, valueOf("refresh_token")];
  await later(async () => {
    network.away = DOMAIN;
    await open("/qualifier");
    await see("Python");
    assert.equal(valueOf("id_token"), first);
    network.away = "none";

    await open("/qualifier");
    await see("Python");
    assert.notEqual(valueOf("id_token"), first);
    assert.equal(valueOf("refresh_token"), refresh);
    assert.equal(lastCall(ME).headers.get("authorization"), `Bearer ${valueOf("id_token")}`);

    const both = await Promise.all([1, 2].map(() => serve(false, () => api.GET(ME))));
    assert.deepEqual(both.map(({ response }) => response.status), [200, 200]);
  });
  await open("/qualifier");
  assert.equal(callsTo("/oauth2/token").length, asked + 4);
}

async function signOut() {
  const tokens = ["id_token", "refresh_token"].map((name) => [name, valueOf(name)] as const);
  await open("/signin");
  await press("Use another account");
  while (cookie("refresh_token")) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(cookie("id_token"), undefined);
  assert.equal(lastCall("/oauth2/revoke").path, "/oauth2/revoke");

  tokens.forEach(([name, value]) => setCookie(name, value));
  await later(() => open("/qualifier"));
  assert.equal(address(), "/signin");
  assert.deepEqual([cookie("id_token"), cookie("refresh_token")], [undefined, undefined]);
}

/** Signs in at the hosted pages, and returns the address that leads back. */
async function wayBack() {
  const { GET } = await import("@/app/cognito/route");
  const { digest } = await serve(true, GET).catch((redirect: { digest: string }) => redirect);
  const response = await fetch(String(digest.split(";")[2]), { redirect: "manual" });
  return response.headers.get("location") ?? "";
}

async function comeBackWrongly() {
  const wrongly = [
    (back: string) => back.replace(/state=.*/, "state=of-another"),
    (back: string) => back.replace(/code=.*?&/, "error=access_denied&"),
    ...[0, 1, 2, 3].map((wrong) => (back: string) => {
      const kept = (valueOf("sign_in") ?? "").split("."); // the state, the nonce, the verifier
      setCookie("sign_in", wrong === 3 ? "" : kept.map((part, index) => (index === wrong ? "wrong" : part)).join("."));
      return back;
    }),
  ];
  for (const change of wrongly) {
    await open(change(await wayBack()));
    assert.equal(address(), FAILED);
    await see("Signing in did not work.");
    assert.deepEqual([cookie("sign_in"), cookie("id_token")], [undefined, undefined]);
  }
  const back = await wayBack();
  await open(back);
  assert.equal(address(), "/qualifier");
  await open(back);
  assert.equal(address(), FAILED);
}

async function beRefused() {
  setCookie("id_token", "e30.e30.e30"); // 401: to sign in again
  setCookie("refresh_token");
  await open("/qualifier");
  assert.equal(address(), "/signin");
  pages.user = "eve@example.org";
  await press("Sign in or sign up"); // 403: to be told why
  await see(String(process.env["REFUSAL"]));
  assert.equal(address(), "/qualifier");
}

run(async () => {
  await signIn();
  await stay();
  await signOut();
  await comeBackWrongly();
  await beRefused();
});
