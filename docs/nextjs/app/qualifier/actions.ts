"use server";

import { api } from "@/lib/api";
import { filledRows, finish, type FormState, textOf, versionOf } from "@/lib/form";
import { besideRows, DAYS } from "@/lib/qualifier";
import type { components } from "@/lib/schema";

export async function saveCommunity(_: FormState, form: FormData) {
  return save(form, "community", { community_of_practice: textOf(form, "community_of_practice") });
}

/** Sends the whole matrix: the fields that aren't named like the version and those of React are the ids of skills. */
export async function saveSkills(_: FormState, form: FormData) {
  const rated = [...form.keys()].filter((name) => !name.startsWith("$") && textOf(form, name) !== "");
  const skills_learned_matrix = Object.fromEntries(rated.map((id) => [id, Number(textOf(form, id))]));
  return save(form, "skills", { skills_learned_matrix });
}

export async function saveTime(_: FormState, form: FormData) {
  const [hours, timezone] = [textOf(form, "max_available_hours"), textOf(form, "timezone")];
  const rows = filledRows(form, "day");
  const slots = rows.flatMap((row) => {
    const day = DAYS.find((known) => known === textOf(form, `day ${row}`));
    return day ? [{ day, start: textOf(form, `start ${row}`), end: textOf(form, `end ${row}`) }] : [];
  });
  const { values, problem } = await save(form, "time", {
    max_available_hours: hours === "" ? null : Number(hours),
    meeting_availability: slots.length === 0 ? null : { timezone, slots },
  });
  return { values, problem: problem && { ...problem, fields: besideRows(problem.fields, rows) } };
}

async function save(form: FormData, step: string, body: components["schemas"]["PatchedUserWrite"]) {
  const params = { header: versionOf(form) };
  return finish(form, api.PATCH("/api/users/me/", { params, body }), "/qualifier", `/qualifier?step=${step}`);
}
