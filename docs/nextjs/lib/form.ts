import { redirect } from "next/navigation";
import { type Answer, type Problem, problemOf } from "@/components/problem";

/** What `useActionState` keeps of a form: what was entered, by name, and what is wrong with it. */
export type FormState = { values: Record<string, string>; problem: Problem | null };

export function textOf(form: FormData, name: string) {
  return String(form.get(name) ?? "");
}

/** Goes on to the `next` page, or back to the form with what is wrong. */
export async function finish(form: FormData, request: Promise<Answer>, next: string): Promise<FormState> {
  const { error, response } = await request;
  if (response.ok) {
    redirect(next);
  }
  const names = [...form.keys()].filter((name) => name !== "password");
  const values = Object.fromEntries(names.map((name) => [name, textOf(form, name)]));
  return { values, problem: problemOf({ error, response }) };
}
