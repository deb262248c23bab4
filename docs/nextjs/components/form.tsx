"use client";

import { useActionState, useId } from "react";
import { Notice } from "@/components/problem";
import type { FormState } from "@/lib/form";

export type Option = { value: string; label: string };
export type Field = {
  name: string;
  label?: string;
  type?: string;
  value?: string | undefined;
  autoComplete?: string;
  options?: Option[];
};
type Action = (state: FormState, form: FormData) => Promise<FormState>;
type Props = { action: Action; fields?: Field[]; submit: string };

/** `noValidate` lets the API's words be read in place of the browser's. */
export function Form({ action, fields = [], submit }: Props) {
  const [{ values, problem }, send, isPending] = useActionState(action, { values: {}, problem: null });
  const visible = fields.filter(({ type }) => type !== "hidden").map(({ name }) => name);
  return (
    <form action={send} noValidate>
      {fields.map((field) => (
        <Control key={field.name} {...field} value={values[field.name] ?? field.value} errors={problem?.fields[field.name] ?? []} />
      ))}
      {problem && <Notice problem={problem} beside={visible} />}
      <button disabled={isPending}>{submit}</button>
    </form>
  );
}

function Control({ label, options, errors, value, type, ...input }: Field & { errors: string[] }) {
  const id = useId();
  const control = { ...input, id, defaultValue: value, "aria-invalid": errors.length > 0, "aria-describedby": `${id}-errors` };
  if (type === "hidden") {
    return <input type={type} name={input.name} defaultValue={value} />;
  }
  return (
    <p>
      <label htmlFor={id}>{label}</label>
      {options ? (
        // The key draws it anew when its value has changed: resetting a form doesn't change a select.
        <select key={value} {...control}>
          {[{ value: "", label: "" }, ...options].map((option) => (
            <option key={option.value} {...option} />
          ))}
        </select>
      ) : type === "textarea" ? (
        <textarea rows={8} {...control} />
      ) : (
        <input type={type} {...control} />
      )}
      <span id={`${id}-errors`}>{errors.join(" ")}</span>
    </p>
  );
}
