"use client";

import { useActionState, useId } from "react";
import { Notice } from "@/components/problem";
import type { FormState } from "@/lib/form";

export type Field = {
  name: string;
  label?: string;
  type?: string;
  value?: string | undefined;
  autoComplete?: string;
  options?: { value: string; label: string }[];
};
type Action = (state: FormState, form: FormData) => Promise<FormState>;
type Props = { action: Action; fields?: Field[]; submit: string };

/** `noValidate` lets the API's words be read in place of the browser's. */
export function Form({ action, fields = [], submit }: Props) {
  const [{ values, problem }, send, isPending] = useActionState(action, { values: {}, problem: null });
  const id = useId();
  return (
    <form action={send} noValidate>
      {problem && <Notice problem={problem} beside={fields.map(({ name }) => name)} />}
      {fields.map(({ name, label, options, value, ...input }) => {
        const errors = problem?.fields[name] ?? [];
        const state = { "aria-invalid": errors.length > 0, "aria-describedby": `${id}-${name}` };
        const control = { name, defaultValue: values[name] ?? value, ...state };
        return (
          <p key={name}>
            <label>
              {label}{" "}
              {options ? (
                // The key draws it anew when its value has changed: resetting a form doesn't change a select.
                <select key={control.defaultValue} {...control}>
                  {[{ value: "", label: "" }, ...options].map((option) => (
                    <option key={option.value} {...option} />
                  ))}
                </select>
              ) : (
                <input {...input} {...control} />
              )}
            </label>
            <span id={`${id}-${name}`}>{errors.join(" ")}</span>
          </p>
        );
      })}
      <button disabled={isPending}>{submit}</button>
    </form>
  );
}
