import { notFound, redirect } from "next/navigation";
import { signInTo } from "@/lib/next";
import type { components } from "@/lib/schema";

export type Problem = { message: string; fields: Record<string, string[]>; wait: number; signIn?: string };
export type Answer<Data = unknown> = { data?: Data; error?: components["schemas"]["Error"]; response: Response };

const CHANGED =
  "This was changed after you opened the page, perhaps by you in another tab, so nothing was saved. " +
  "Open the page in a new tab to see what is stored, and enter your change there.";
const ENDED = "You are no longer signed in. What you entered is still here: sign in, come back to this tab, and send it again.";

/** What the page `here` shows: that needs a service that works, something that is there, and perhaps somebody who is signed in. */
export function dataOf<Data>(answer: Answer<Data>, here: string): Data {
  const { data, error, response } = answer;
  if (isSignedOut(answer)) {
    redirect(signInTo(here)); // outside any try: it works by throwing
  }
  if (response.status === 404) {
    notFound();
  }
  if (data === undefined) {
    throw new Error(error?.error.message); // a page that told of it instead would be kept as a good one
  }
  return data;
}

/** What went wrong on the page `here`, in words. */
export function problemOf(answer: Answer, here: string): Problem {
  const { code, message = "This did not work.", fields = {} } = answer.error?.error ?? {};
  const wait = secondsUntil(answer.response.headers.get("Retry-After"));
  if (isSignedOut(answer)) {
    return { message: ENDED, fields, wait, signIn: signInTo(here) };
  }
  return { message: code === "precondition_failed" ? CHANGED : message, fields, wait };
}

function isSignedOut({ error, response }: Answer) {
  return error?.error.code === "not_authenticated" || response.status === 401;
}

/** `Retry-After` says seconds, or a date where a proxy on the way has written it. */
function secondsUntil(after: string | null) {
  const seconds = Number(after);
  return Number.isNaN(seconds) ? Math.max(1, Math.ceil((Date.parse(after ?? "") - Date.now()) / 1000)) || 0 : seconds;
}
