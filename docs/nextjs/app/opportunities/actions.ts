"use server";

import { updateTag } from "next/cache";
import { redirect } from "next/navigation";
import { type Answer, problemOf } from "@/lib/answer";
import { api } from "@/lib/api";
import { backTo, type FormState, textOf, versionOf } from "@/lib/form";
import { listingOf } from "@/lib/listing";

export async function postOpportunity(_: FormState, form: FormData) {
  const answer = await api.POST("/api/opportunities/", { body: listingOf(form) });
  return show(answer.data?.id, form, answer, "/opportunities/new");
}

export async function changeOpportunity(_: FormState, form: FormData) {
  const path = { id: textOf(form, "id") };
  const params = { path, header: versionOf(form) };
  const answer = await api.PUT("/api/opportunities/{id}/", { params, body: listingOf(form) });
  return show(answer.data?.id, form, answer, `/opportunities/${path.id}/edit`);
}

export async function deleteOpportunity(_: FormState, form: FormData) {
  const path = { id: textOf(form, "id") };
  return show("mine", form, await api.DELETE("/api/opportunities/{id}/", { params: { path } }), `/opportunities/${path.id}`);
}

/** What visitors read of opportunities is read anew from now on, so that the author sees the change at once. */
async function show(page: string | undefined, form: FormData, answer: Answer, here: string): Promise<FormState> {
  if (!answer.response.ok) {
    return backTo(form, problemOf(answer, here));
  }
  updateTag("opportunities");
  redirect(`/opportunities/${page}`);
}
