// From the hosted sign-in and out again, through the built site, a live API and a pool of moto's.
import assert from "node:assert/strict";
import { domain, hosted } from "./hosted.mjs";
import { lastCall, pass, startSite } from "./servers.mjs";
import { play, visitor } from "./visitor.mjs";

const { REFUSAL, SITE } = process.env;
const ME = "/api/users/me/";
const TOKENS = ["id_token", "refresh_token"];
const FIVE_MINUTES_BEFORE_ITS_END = 3_400;

function asked(path) {
  return hosted.asked.filter((known) => known === path).length;
}

async function signIn(ana) {
  await ana.open("/qualifier?step=community");
  await ana.isAt("/signin?next=%2Fqualifier%3Fstep%3Dcommunity");
  await ana.look("cognito");
  await ana.press("Sign in or sign up");
  await ana.isAt("/qualifier?step=community");
  await ana.see("Your community of practice");
  assert.equal(await ana.cookie("sign_in"), undefined);
  for (const name of TOKENS) {
    const { value, httpOnly, sameSite, path } = await ana.cookie(name);
    assert.deepEqual([httpOnly, sameSite, path], [true, "Lax", "/"]);
    assert(!(await ana.page.content()).includes(value), `${name} is in the page.`);
  }
  await ana.pick("Your community of practice", "Engineering");
  await ana.press("Save and go on");
  await ana.see("Python");
  const { headers } = lastCall(ME);
  assert.equal(headers.authorization, `Bearer ${(await ana.cookie("id_token")).value}`);
  assert.deepEqual([headers.cookie, headers["x-csrftoken"], headers["x-forwarded-for"]], [undefined, undefined, "203.0.113.9"]);
}

async function stay(ana) {
  const [first, refresh] = [(await ana.cookie("id_token")).value, (await ana.cookie("refresh_token")).value];
  const before = asked("/oauth2/token");
  pass(FIVE_MINUTES_BEFORE_ITS_END);
  hosted.away = true;
  await ana.open("/qualifier");
  await ana.see("Python");
  assert.equal((await ana.cookie("id_token")).value, first);
  hosted.away = false;
  await ana.open("/qualifier");
  await ana.see("Python");
  assert.notEqual((await ana.cookie("id_token")).value, first);
  assert.equal((await ana.cookie("refresh_token")).value, refresh);
  assert.notEqual(lastCall(ME).headers.authorization, `Bearer ${first}`);
  pass(0);
  await ana.open("/qualifier"); // what the page fetched in advance refreshed, too: it ends with it
  await ana.see("Python");
  const refreshed = asked("/oauth2/token");
  assert(refreshed > before);
  await ana.open("/qualifier");
  await ana.see("Python");
  assert.equal(asked("/oauth2/token"), refreshed);
}

async function signOut(ana) {
  const kept = await Promise.all(TOKENS.map(ana.cookie));
  await ana.press("Sign out", "banner");
  await ana.isAt("/signin");
  assert.deepEqual([asked("/oauth2/revoke"), asked("/logout")], [1, 1]);
  assert.deepEqual(await Promise.all(TOKENS.map(ana.cookie)), [undefined, undefined]);
  await ana.context.addCookies(kept);
  pass(FIVE_MINUTES_BEFORE_ITS_END); // the refresh is refused
  await ana.open("/qualifier");
  await ana.isAt("/signin?next=%2Fqualifier");
  assert.deepEqual(await Promise.all(TOKENS.map(ana.cookie)), [undefined, undefined]);
  pass(0);
}

async function comeBackWrongly(ana) {
  const wrongly = [
    (back) => back.replace(/state=.*/, "state=of-another"),
    (back) => back.replace(/code=.*?&/, "error=access_denied&"),
    ...[0, 1, 2].map((wrong) => async (back) => {
      const kept = decodeURIComponent((await ana.cookie("sign_in")).value).split(" "); // the state, the nonce, the verifier
      const value = kept.map((part, index) => (index === wrong ? "wrong" : part)).join(" ");
      await ana.context.addCookies([{ name: "sign_in", value: encodeURIComponent(value), url: SITE }]);
      return back;
    }),
    async (back) => {
      await ana.context.clearCookies({ name: "sign_in" });
      return back;
    },
  ];
  for (const change of wrongly) {
    hosted.change = change;
    await ana.open("/cognito");
    await ana.isAt("/signin?failed=true");
    await ana.see("Signing in did not work.");
    assert.deepEqual([await ana.cookie("sign_in"), await ana.cookie("id_token")], [undefined, undefined]);
  }
  let way;
  hosted.change = (back) => (way = back);
  await ana.open("/cognito?next=//evil.example");
  await ana.isAt("/qualifier");
  await ana.open(way);
  await ana.isAt("/signin?failed=true");
}

async function beRefused(eve) {
  await eve.context.addCookies([{ name: "id_token", value: "e30.e30.e30", url: SITE }]); // 401: to sign in again
  await eve.open("/qualifier");
  await eve.isAt("/signin?next=%2Fqualifier");
  hosted.user = "eve@example.org";
  await eve.press("Sign in or sign up"); // 403: to be told why
  await eve.see(REFUSAL);
}

await startSite({ IDENTITY_PROVIDER: "cognito", SITE_URL: SITE, COGNITO_DOMAIN: domain });
await play(async () => {
  const [ana, eve] = [await visitor(), await visitor()];
  await signIn(ana);
  await stay(ana);
  await signOut(ana);
  await comeBackWrongly(ana);
  await beRefused(eve);
});
