"use server";

import { api } from "@/lib/api";
import { finish, type FormState, textOf } from "@/lib/form";
import { pageAfter } from "@/lib/next";

export async function signUp(_: FormState, form: FormData) {
  const names = { first_name: textOf(form, "first_name"), last_name: textOf(form, "last_name") };
  const body = { email: textOf(form, "email"), password: textOf(form, "password"), ...names };
  return finish(form, api.POST("/api/auth/signup/", { body }), "/qualifier");
}

export async function signIn(_: FormState, form: FormData) {
  const body = { email: textOf(form, "email"), password: textOf(form, "password") };
  return finish(form, api.POST("/api/auth/login/", { body }), pageAfter(textOf(form, "next")));
}

export async function mailLink(_: FormState, form: FormData) {
  const body = { email: textOf(form, "email") };
  return finish(form, api.POST("/api/auth/forgot-password/", { body }), "/reset-password?sent=true");
}

export async function resetPassword(_: FormState, form: FormData) {
  const body = { uid: textOf(form, "uid"), token: textOf(form, "token"), password: textOf(form, "password") };
  return finish(form, api.POST("/api/auth/reset-password/", { body }), "/signin");
}
