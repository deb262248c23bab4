import { Suspense } from "react";
import { mailLink, resetPassword } from "@/app/account/actions";
import { Form } from "@/components/form";
import { type SearchParams, valueOf } from "@/components/pages";

export const metadata = { title: "A new password", referrer: "no-referrer" as const }; // the address holds the token

const MAILED = ["uid", "token"];
const EMAIL = { name: "email", label: "E-mail address", type: "email", autoComplete: "email" };
const PASSWORD = { name: "password", label: "New password", type: "password", autoComplete: "new-password" };

export default function ResetPasswordPage({ searchParams }: PageProps<"/reset-password">) {
  return (
    <>
      <h1>A new password</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <ResetPassword searchParams={searchParams} />
      </Suspense>
    </>
  );
}

async function ResetPassword({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  if (valueOf(params, "token")) {
    const hidden = MAILED.map((name) => ({ name, type: "hidden", value: valueOf(params, name) }));
    return <Form key="password" action={resetPassword} fields={[PASSWORD, ...hidden]} submit="Save" />;
  }
  const isSent = valueOf(params, "sent");
  return isSent ? <p>Look into your mailbox.</p> : <Form key="mail" action={mailLink} fields={[EMAIL]} submit="Mail me a link" />;
}
