import { redirect } from "next/navigation";
import type { components } from "@/lib/schema";

export type Problem = { message: string; fields: Record<string, string[]>; retryAfter: string | null };
export type Answer = { error?: components["schemas"]["Error"] | string | undefined; response: Response };

const CHANGED =
  "This was changed after you opened the page, perhaps by you in another tab, so nothing was saved. " +
  "Open the page in a new tab to see what is stored, and enter your change there.";

/** Says what went wrong. Someone who is not signed in, or no longer, is sent to the sign-in page instead. */
export function problemOf({ error: failure, response }: Answer): Problem {
  const error = typeof failure === "string" ? undefined : failure?.error; // a proxy on the way may answer with a page
  if (error?.code === "not_authenticated" || response.status === 401) {
    redirect("/signin"); // outside any try: it works by throwing
  }
  return {
    message: (error?.code === "precondition_failed" ? CHANGED : error?.message) ?? `The service answered with status ${response.status}.`,
    fields: error?.fields ?? {},
    retryAfter: response.headers.get("Retry-After"),
  };
}

/** What is wrong with a page or a form, but for the fields `beside` which it is said. */
export function Notice({ problem, beside = [] }: { problem: Problem; beside?: string[] }) {
  const others = Object.entries(problem.fields).filter(([field]) => !beside.includes(field));
  return (
    <div role="alert">
      <p>{problem.message}</p>
      {problem.retryAfter && <p>Wait {problem.retryAfter} seconds before you try again.</p>}
      {others.flatMap(([, texts]) => texts).map((text) => <p key={text}>{text}</p>)}
    </div>
  );
}
