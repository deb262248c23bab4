// From sign-up to the ranked list, from a draft to its deletion, and through every kind of outage.
import assert from "node:assert/strict";
import { callsTo, lastCall, network, pass, startSite, until } from "./servers.mjs";
import { play, visitor } from "./visitor.mjs";

const { PASSWORD, RESET_LINK, SITE } = process.env;
const ME = "/api/users/me/";
const AWAY = "The service is not available at the moment.";
const JSON_TYPE = { "Content-Type": "application/json" };
const FAULTS = {
  "away": (response) => response.destroy(),
  "a page": (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>Maintenance</h1>"),
  "breaks off": (response) => response.writeHead(200, { ...JSON_TYPE, "Content-Length": 99 }).write('{"a":', () => response.destroy()),
  "half": (response) => response.writeHead(200, JSON_TYPE).end('{"a":'),
  "an error": (response) => response.writeHead(500, JSON_TYPE).end('{"error": {"code": "server_error", "message": "Our fault."}}'),
};

async function signUp(ana) {
  await ana.context.addCookies([{ name: "csrftoken", value: "%0Amalformed%C3%A9", url: SITE }]);
  await ana.open("/matches?fits=all");
  await ana.isAt("/signin?next=%2Fmatches");
  await ana.look("signin");
  await ana.press("I am new here");
  await ana.see("First name");
  await ana.fill({ "E-mail address": "ana", Password: "short", "First name": "Ana" });
  await ana.press("Sign up");
  await ana.see("Enter a valid email address.");
  await ana.has({ "E-mail address": "ana", "First name": "Ana", Password: "" });
  assert.equal(callsTo("/api/auth/signup/", "POST").length, 2, "Another token was fetched, once.");
  await ana.look("signup");

  await ana.fill({ "E-mail address": "ana@example.org", Password: PASSWORD });
  await ana.press("Sign up");
  await ana.see("Your community of practice");
  const { headers } = lastCall("/api/auth/signup/", "POST");
  assert.equal(callsTo("/api/auth/signup/", "POST").length, 3);
  assert.deepEqual([headers.origin, headers["x-forwarded-for"]], [SITE, "203.0.113.9"]);
  for (const name of ["sessionid", "csrftoken"]) {
    const { httpOnly, sameSite, path, expires } = await ana.cookie(name);
    assert.deepEqual([httpOnly, sameSite, path], [true, "Lax", "/"]);
    assert(expires > Date.now() / 1000 + 1_000_000, `${name} would be lost when the browser is closed.`);
  }
}

async function fillInTheQualifier(ana) {
  await ana.open("/matches");
  await ana.see("Rate your skills first.");
  await ana.open("/qualifier");
  await ana.look("qualifier-community");
  await ana.pick("Your community of practice", "Engineering");
  await ana.press("Save and go on");
  await ana.fill({ React: "7", Python: "2" });
  await ana.press("Save and go on");
  await ana.see("React: the level must be a whole number from 1 to 5, not 7.");
  await ana.has({ React: "7", Python: "2" });
  await ana.look("qualifier-skills");
  await ana.fill({ React: "3" });
  await ana.press("Save and go on");
  await ana.fill({ "Hours a week, at most": "500", "Start 1": "18:00", "End 1": "17:00" });
  await ana.pick("Day 1", "wed");
  await ana.press("Save");
  await ana.see("it must start before it ends");
  await ana.has({ "Day 1": "wed", "Start 1": "18:00" });
  await ana.look("qualifier-time");
  await ana.fill({ "Hours a week, at most": "6", "End 1": "24:00" });
  await ana.press("Save");
  await ana.see("Thank you, Ana. You rated 2 skills.");
  await ana.look("qualifier");
  await ana.press("Time");
  await ana.has({ "Hours a week, at most": "6", "Day 1": "wed", "End 1": "24:00", "Time zone": "America/Los_Angeles" });
  await ana.press("Save");
  await ana.press("Community");
  await ana.pick("Your community of practice", "UI/UX");
  await ana.press("Save and go on");
  await ana.see("You rated 2 skills.");
  await ana.press("Skills");
  await ana.has({ React: "3", Python: "2", "Card sorting": "" });
}

/** Whatever happens to the API or the session, what was typed stays, and can be sent again. */
async function loseNothingTyped(ana) {
  await ana.open("/qualifier?step=time");
  await ana.fill({ "Hours a week, at most": "7" });
  const inAMinute = new Date(Date.now() + 60_000).toUTCString();
  const busy = '{"error": {"code": "throttled", "message": "Too many."}}';
  const waits = { "20": "Wait 20 seconds", [inAMinute]: /Wait [3-6]\d seconds/ };
  for (const [after, text] of Object.entries(waits)) {
    network.fault = (response) => response.writeHead(429, { ...JSON_TYPE, "Retry-After": after }).end(busy);
    await ana.press("Save");
    await ana.see("Too many.", text);
  }
  for (const [fault, answer] of Object.entries(FAULTS)) {
    network.fault = answer;
    const asked = callsTo(ME, "PATCH").length;
    await ana.press("Save");
    await until(() => callsTo(ME, "PATCH").length > asked);
    await ana.see(fault === "an error" ? "Our fault." : AWAY);
    assert.equal(callsTo(ME, "PATCH").length, asked + 1, "A write is sent once.");
    await ana.has({ "Hours a week, at most": "7" });
  }
  network.fault = undefined;

  await ana.context.clearCookies({ name: "sessionid" });
  await ana.press("Save");
  await ana.see("You are no longer signed in.");
  await ana.look("ended");
  await ana.inNewTab(() => ana.press("Sign in (in a new tab)"), async (tab) => {
    await tab.fill({ "E-mail address": "ana@example.org", Password: "roses-and-lead" });
    await tab.press("Sign in");
    await tab.see("The e-mail address or the password is wrong.");
    await tab.has({ "E-mail address": "ana@example.org", Password: "" });
    await tab.fill({ Password: PASSWORD });
    await tab.press("Sign in");
    await tab.isAt("/qualifier?step=time");
    await tab.has({ "Hours a week, at most": "6" });
  });
  await ana.has({ "Hours a week, at most": "7" });
  await ana.press("Save");
  await ana.see("Thank you, Ana");
}

async function readTheListing(ana) {
  const open = (query) => callsTo(`/api/opportunities/?status=open${query}`).length;
  await ana.open("/opportunities");
  await ana.see("25 found");
  assert.equal(await ana.page.getByRole("listitem").count(), 20);
  assert(!(await ana.page.content()).includes("UX Writing"), "A draft is shown.");
  await ana.look("opportunities");
  await ana.open("/opportunities");
  await ana.see("25 found");
  assert.equal(open("&limit=20&offset=0"), 1, "One answer is kept for all.");
  assert.equal(lastCall("/api/opportunities/").headers.cookie, undefined);
  await ana.press("Next");
  await ana.see("Previous");
  assert.equal(await ana.page.getByRole("listitem").count(), 5);

  await ana.open("/opportunities");
  for (const time of [1, 2]) {
    await ana.fill({ Search: "developer" });
    await ana.press("Search");
    await ana.see("2 found");
    assert.equal(open("&search=developer"), time, "A search is not kept.");
  }
  await ana.fill({ "Hours a week, at most": "999" });
  await ana.press("Search");
  await ana.see("Give a whole number from 0 to 168.");
  await ana.has({ Search: "developer" });
  await ana.fill({ "Hours a week, at most": "8" });
  await ana.press("Search");
  await ana.press("Front End Developer at Food Oasis");
  await ana.see("Map food pantries.", "Skills: Python 4, React 3, Django 1", "wed 18:00 to 19:00", "62 %: you meet 1 of 3 skills asked.");
  await ana.look("opportunity");
  const { pathname } = new URL(ana.page.url());
  const asked = callsTo(`/api${pathname}/`).length;
  await ana.open(pathname);
  await ana.see("Map food pantries.");
  assert.equal(callsTo(`/api${pathname}/`).length, asked + 1, "One row is not kept: its deletion would not show.");
}

async function readTheMatches(ana) {
  const asked = callsTo(ME).length;
  await ana.open("/matches");
  await ana.see("3 found");
  assert.equal(callsTo(`${ME}`).length - asked, 3, "The header and the page ask together who is signed in.");
  const texts = await ana.page.locator("h2, article").allInnerTexts();
  assert.deepEqual(texts.map((text) => text.replace(/\s+/g, " ")), [
    "In your community",
    "UX Researcher at HomeUniteUs 40 %: you meet 0 of 1 skill asked. Python at level 5: you have less",
    "Elsewhere",
    "Full Stack Developer at HomeUniteUs 100 %: you meet 1 of 1 skill asked. It asks for more hours than you have. " +
      "React at level 2: you have it",
    "Front End Developer at Food Oasis 62 %: you meet 1 of 3 skills asked. Meetings: Wed 18:00 yes, Mon 18:00 no " +
      "Python at level 4: you have less Django at level 1: new to you React at level 3: you have it",
  ]);
  await ana.look("matches");
  await ana.pick("Only those that I have time for", "all meetings");
  await ana.press("Show");
  await ana.see("1 found");
}

async function signOut(ana) {
  const kept = await ana.cookie("sessionid");
  await ana.press("Sign out", "banner");
  await ana.isAt("/signin");
  assert.equal(await ana.cookie("sessionid"), undefined);
  assert(!/Ana|UX Researcher/.test(await ana.page.content()), "Something of the last user is left.");
  await ana.page.goBack();
  await ana.isAt("/signin?next=%2Fmatches");
  await ana.context.addCookies([kept]); // the session ended at the API, too
  await ana.open("/qualifier?step=skills");
  await ana.isAt("/signin?next=%2Fqualifier%3Fstep%3Dskills");
  for (const next of ["//evil.example", "/\\evil.example", "/.//evil.example", "https://evil.example/", "/%09/evil.example"]) {
    await ana.context.clearCookies({ name: "sessionid" });
    await ana.open(`/signin?${new URLSearchParams({ next })}`);
    await ana.fill({ "E-mail address": "ana@example.org", Password: PASSWORD });
    await ana.press("Sign in");
    await ana.isAt("/qualifier");
  }
}

async function chooseANewPassword(ben) {
  await ben.open("/signin");
  await ben.press("I forgot my password");
  await ben.see("Mail me a link");
  await ben.look("reset-password");
  await ben.fill({ "E-mail address": "nobody@example.org" });
  await ben.press("Mail me a link");
  await ben.see("Look into your mailbox.");
  await ben.open(RESET_LINK);
  await ben.fill({ "New password": "short" });
  await ben.press("Save");
  await ben.see("This password is too short.");
  await ben.fill({ "New password": "lilacs-and-zinc" });
  await ben.press("Save");
  await ben.see("I am new here");
  await ben.fill({ "E-mail address": "ben@example.org", Password: "lilacs-and-zinc" });
  await ben.press("Sign in");
  await ben.see("Your community of practice");
  await ben.open("/qualifier?step=time");
  await ben.press("Save");
  await ben.see("Your community of practice");
  await ben.open("/qualifier?step=time");
  await ben.has({ "End 4": "19:00", "Day 5": "" });
  await ben.open(RESET_LINK);
  await ben.fill({ "New password": PASSWORD });
  await ben.press("Save");
  await ben.see("This link is wrong, was used already, or is too old.");
}

/** Saving keeps all skills, and a project and a role that are retired. */
async function changeWhatIsRetired(pam) {
  await pam.open("/opportunities/mine");
  await pam.press("Technical Writer at VRMS");
  await pam.see("Skills:");
  const { pathname } = new URL(pam.page.url());
  const skills = await pam.page.getByText("Skills:").innerText();
  await pam.press("Edit");
  await pam.has({ "Level of skill 12, from 1 to 5": "3", "Skill 13": "" });
  await pam.fill({ Description: "Count the birds." });
  await pam.press("Save");
  await pam.isAt(pathname);
  await pam.see("Count the birds.", skills);
}

/** A project manager's change is seen at once, and undoes nobody's. */
async function postAndChange(pam, stranger) {
  await pam.open("/signin?next=/opportunities/mine");
  await pam.fill({ "E-mail address": "pam@example.org", Password: PASSWORD });
  await pam.press("Sign in");
  await pam.press("Your listings", "banner");
  await pam.press("Post an opportunity");
  await pam.pick("Role", "Data Analyst");
  await pam.pick("Skill 1", "React");
  await pam.fill({ Description: "Count the trees.", "Level of skill 1, from 1 to 5": "9" });
  await pam.press("Post");
  await pam.see("Choose a project.");
  await pam.has({ Description: "Count the trees.", "Level of skill 1, from 1 to 5": "9" });
  await pam.look("post");
  await pam.pick("Project", "311 Data");
  await pam.fill({ "Level of skill 1, from 1 to 5": "4" });
  await pam.press("Post");
  await pam.see("Count the trees.", "draft", "Skills: React 4");
  await pam.look("opportunity-of-project-manager");
  const { pathname } = new URL(pam.page.url());
  await stranger.open("/");
  await stranger.look("home");
  assert(!(await stranger.page.content()).includes(pathname));
  await stranger.open(pathname);
  await stranger.see("This page could not be found.");
  stranger.forgive();

  await pam.press("Edit");
  await pam.has({ Description: "Count the trees.", Status: "draft", "Level of skill 1, from 1 to 5": "4" });
  await pam.look("edit");
  await pam.inNewTab(
    () => pam.page.evaluate((path) => window.open(path), `${pathname}/edit`),
    async (tab) => {
      await tab.pick("Status", "open");
      await tab.press("Save");
      await tab.see("hours a week: open");
    },
  );
  await stranger.open("/");
  await stranger.press("Data Analyst at 311 Data");
  await stranger.isAt(pathname);
  await stranger.see("Count the trees.", "Sign in to see how well it suits you");
  await pam.fill({ Description: "Count the bees." });
  await pam.press("Save");
  await pam.see("This was changed after you opened the page");
  await pam.has({ Description: "Count the bees." });
  await pam.look("changed-meanwhile");
  await pam.open(`${pathname}/edit`);
  await pam.fill({ Description: "Count the bees." });
  await pam.press("Save");
  await pam.see("Count the bees.");
  await stranger.open(pathname);
  await stranger.see("Count the bees.");

  await pam.page.locator("summary").click();
  await pam.press("Delete");
  await pam.isAt("/opportunities/mine");
  await stranger.open(pathname);
  await stranger.see("This page could not be found.");
  stranger.forgive();
}

/** What is kept is shown first and read anew then; an outage takes the place of no page. */
async function loseTheApi(ana) {
  const newest = callsTo("/api/opportunities/?status=open&limit=5").length;
  const home = async (fault) => {
    network.fault = fault;
    await ana.open("/");
    await ana.see("Newest openings");
  };
  await home();
  pass(70);
  for (const fault of Object.values(FAULTS)) {
    await home(fault);
  }
  assert(callsTo("/api/opportunities/?status=open&limit=5").length > newest, "Nothing was read anew.");
  await home();
  ana.forgive();

  for (const path of ["/matches", "/opportunities?search=map"]) {
    network.fault = FAULTS["a page"];
    await ana.open(path);
    await ana.see("This page is not available at the moment");
    ana.forgive();
    await ana.look("outage");
    network.fault = undefined;
    await ana.press("Try again");
    await ana.see("found");
  }
}

await startSite();
await play(async () => {
  const [ana, ben, pam, stranger] = [await visitor(), await visitor(), await visitor(), await visitor()];
  await signUp(ana);
  await fillInTheQualifier(ana);
  await loseNothingTyped(ana);
  await readTheListing(ana);
  await readTheMatches(ana);
  await signOut(ana);
  await chooseANewPassword(ben);
  await postAndChange(pam, stranger);
  await changeWhatIsRetired(pam);
  await loseTheApi(ana);
});
