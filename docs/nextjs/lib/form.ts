import { redirect } from "next/navigation";
import { type Answer, type Problem, problemOf } from "@/lib/answer";

/** What `useActionState` keeps of a form: what was entered, by name, and what is wrong with it. */
export type FormState = { values: Record<string, string>; problem: Problem | null };

export function textOf(form: FormData, name: string) {
  return String(form.get(name) ?? "");
}

/** The numbers of a list's rows: at least so many, and one more than are stored. */
export function rowsFor(stored: unknown[], least: number) {
  return Array.from({ length: Math.max(least, stored.length + 1) }, (_, index) => index + 1);
}

/** The numbers of the rows whose control `name` is filled in. */
export function filledRows(form: FormData, name: string) {
  const names = [...form.keys()].filter((known) => known.startsWith(`${name} `) && textOf(form, known) !== "");
  return names.map((known) => known.slice(name.length + 1));
}

/** Goes on to the `next` page, or back to the form, which is on the page `here`. */
export async function finish(form: FormData, request: Promise<Answer>, next: string, here = next): Promise<FormState> {
  const answer = await request;
  if (answer.response.ok) {
    redirect(next);
  }
  return backTo(form, problemOf(answer, here));
}

/** Keeps what was entered, all but passwords. */
export function backTo(form: FormData, problem: Problem): FormState {
  const names = [...form.keys()].filter((name) => name !== "password");
  return { values: Object.fromEntries(names.map((name) => [name, textOf(form, name)])), problem };
}

const VERSION = "$version";

/** The version that a form is made from, so that an older tab undoes nothing. */
export function versionField({ headers }: Response) {
  return { name: VERSION, type: "hidden", value: headers.get("ETag") ?? "*" };
}

export function versionOf(form: FormData) {
  return { "If-Match": textOf(form, VERSION) };
}
