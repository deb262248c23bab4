// From sign-up to the ranked list and out again, through the pages of docs/nextjs.md and a live API.
import assert from "node:assert/strict";
import { address, control, fill, open, pick, press, see, text } from "./browser";
import { cookie, lastCall, network, run } from "./network";
import { dom, SITE, visitor } from "./site";

const PASSWORD = "violets-and-tin";
const NEW_PASSWORD = "lilacs-and-zinc";

async function signUp() {
  dom.cookieJar.setCookieSync("analytics=of-no-concern-to-django", SITE);
  await open("/matches");
  assert.equal(address(), "/signin");
  await press("I am new here");

  fill("E-mail address", "ana");
  fill("Password", "short");
  fill("First name", "Ana");
  await press("Sign up");
  await see("Enter a valid email address.");
  assert.equal(control("E-mail address").value, "ana");
  assert.equal(control("E-mail address").getAttribute("aria-invalid"), "true");
  assert.equal(control("First name").value, "Ana");
  assert.equal(control("Password").value, "");

  fill("E-mail address", "ana@example.org");
  fill("Password", "short");
  await press("Sign up");
  await see("This password is too short.");
  assert.equal(control("E-mail address").value, "ana@example.org");

  fill("Password", PASSWORD);
  visitor.origin = "https://evil.example";
  await press("Sign up");
  await see("CSRF Failed: Origin checking failed");
  visitor.origin = SITE;

  fill("Password", PASSWORD);
  await press("Sign up");
  await see("Your community of practice");
  assert.equal(address(), "/qualifier");
  for (const name of ["sessionid", "csrftoken"]) {
    assert.equal(cookie(name)?.httpOnly, true);
    assert.equal(cookie(name)?.sameSite, "lax");
    assert.equal(cookie(name)?.path, "/");
    assert(Number(cookie(name)?.maxAge) > 1_000_000, `${name} would be lost when the browser is closed.`);
  }
}

async function fillInTheQualifier() {
  pick("Your community of practice", "Engineering");
  await press("Save and go on");
  await see("Python");

  fill("React", "7");
  await press("Save and go on");
  await see("React: the level must be a whole number from 1 to 5, not 7.");
  assert.equal(control("React").value, "7");
  fill("React", "3");
  fill("Python", "2");
  await press("Save and go on");
  await see("Hours a week, at most");

  await open("/qualifier"); // a day later
  await see("Hours a week, at most");
  fill("Hours a week, at most", "500");
  fill("Day 1", "wed");
  fill("Start 1", "18:00");
  fill("End 1", "17:00");
  await press("Save");
  await see("Give a whole number from 0 to 168.");
  await see("slots[0].end: it must start before it ends, not 18:00 to 17:00.");
  assert.deepEqual([control("Day 1").value, control("Start 1").value], ["wed", "18:00"]);
  fill("Hours a week, at most", "6");
  fill("End 1", "24:00");
  await press("Save");
  await see("Thank you, Ana", "You rated 2 skills.");

  await press("Time");
  const labels = ["Hours a week, at most", "Day 1", "Start 1", "End 1", "Time zone"];
  assert.deepEqual(labels.map((label) => control(label).value), ["6", "wed", "18:00", "24:00", "America/Los_Angeles"]);
  document.querySelector('[name="$version"]')?.setAttribute("value", '"of-an-older-tab"');
  fill("Hours a week, at most", "7");
  await press("Save");
  await see("This was changed after you opened the page");
  assert.equal(control("Hours a week, at most").value, "7");

  await open("/qualifier?step=time");
  assert.equal(control("Hours a week, at most").value, "6");
  await press("Save");
  await see("Thank you, Ana");
  await press("Community");
  pick("Your community of practice", "UI/UX");
  await press("Save and go on");
  await see("Thank you, Ana");
  await press("Skills");
  assert.deepEqual([control("React").value, control("Python").value, control("Card sorting").value], ["3", "2", ""]);
  await press("Save and go on");
  await see("You rated 2 skills.");
}

async function readTheListing() {
  await open("/opportunities");
  await see("25 found");
  assert.equal(articles(), 20);
  assert(!text().includes("UX Writing"), "A draft is shown.");
  const { cookies, revalidate } = lastCall("/api/opportunities/");
  assert.deepEqual({ cookies, revalidate }, { cookies: [], revalidate: 60 });

  await press("Next");
  assert.equal(articles(), 5);
  await press("Previous");
  assert.equal(articles(), 20);
  await search({ Search: "analyst" }, "22 found");
  await press("Next");
  await see("22 found");
  assert.equal(articles(), 2);

  await open("/opportunities");
  await search({ Search: "pantries" }, "1 found");
  await see("Front End Developer at Food Oasis", "Map food pantries.", "Python 4, React 3, Django 1");
  assert.equal(control("Search").value, "pantries");
  await search({ Search: "developer" }, "2 found");
  await search({ "Hours a week, at most": "8" }, "1 found");
  await search({ "Hours a week, at most": "999" }, "Give a whole number from 0 to 168.");
}

async function search(filters: Record<string, string>, expected: string) {
  for (const [label, value] of Object.entries(filters)) {
    fill(label, value);
  }
  await press("Search");
  await see(expected);
}

function articles() {
  return document.querySelectorAll("article").length;
}

async function readTheMatches() {
  await open("/matches");
  await see("3 found");
  const items = [...document.querySelectorAll("h2, article")].map((item) => (item.textContent ?? "").replace(/\s+/g, " "));
  assert.deepEqual(items, [
    "In your community",
    "UX Researcher at HomeUniteUs40 %: you meet 0 of 1 skill asked.Python at level 5: you have less",
    "Elsewhere",
    "Full Stack Developer at HomeUniteUs100 %: you meet 1 of 1 skill asked. It asks for more hours than you have." +
      "React at level 2: you have it",
    "Front End Developer at Food Oasis62 %: you meet 1 of 3 skills asked.Meetings: Wed 18:00 yes, Mon 18:00 no" +
      "Python at level 4: you have lessDjango at level 1: new to youReact at level 3: you have it",
  ]);
  await press("junior roles");
  await see("0 found");
  await open("/matches");
  pick("Only those that I have time for", "all meetings");
  await press("Show");
  await see("1 found");
  const { cookies, cache, revalidate } = lastCall("/api/users/me/matches/");
  assert.deepEqual(
    { cookies, cache, revalidate },
    { cookies: ["csrftoken", "sessionid"], cache: "no-store", revalidate: undefined },
  );
}

async function signOutAndIn() {
  await press("Sign out");
  await see("Sign in");
  assert.equal(cookie("sessionid"), undefined);
  await open("/matches");
  assert.equal(address(), "/signin");
  dom.cookieJar.setCookieSync("sessionid=expired", SITE); // Django's answer would delete it, which a page can't do
  await open("/qualifier");
  assert.equal(address(), "/signin");

  fill("E-mail address", "ana@example.org");
  fill("Password", "roses-and-lead");
  await press("Sign in");
  await see("The e-mail address or the password is wrong.");
  assert.equal(control("E-mail address").value, "ana@example.org");
  assert.equal(control("Password").value, "");
  fill("Password", PASSWORD);
  await press("Sign in");
  await see("Thank you, Ana", "You rated 2 skills.");
}

async function chooseANewPassword() {
  await open("/signin");
  await press("I forgot my password");
  fill("E-mail address", "nobody@example.org");
  await press("Mail me a link");
  await see("Look into your mailbox.");

  await open(String(process.env["RESET_LINK"]));
  fill("New password", "short");
  await press("Save");
  await see("This password is too short.");
  fill("New password", NEW_PASSWORD);
  await press("Save");
  await see("I am new here");
  fill("E-mail address", "ben@example.org");
  fill("Password", NEW_PASSWORD);
  await press("Sign in");
  await see("Your community of practice");

  await open(String(process.env["RESET_LINK"]));
  fill("New password", PASSWORD);
  await press("Save");
  await see("This link is wrong, was used already, or is too old.");
}

async function loseTheApi() {
  network.away = "http";
  await open("/matches");
  await see("The service is not available at the moment.", "Wait 5 seconds before you try again.");
}

run(async () => {
  await signUp();
  await fillInTheQualifier();
  await readTheListing();
  await readTheMatches();
  await signOutAndIn();
  await chooseANewPassword();
  await loseTheApi();
});
