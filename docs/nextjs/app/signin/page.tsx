import Link from "next/link";
import { signIn, signOut } from "@/app/account/actions";
import { Form } from "@/components/form";
import { type SearchParams, valueOf } from "@/components/pages";
import { isCognito } from "@/lib/cognito";

export const instant = false;

const FIELDS = [
  { name: "email", label: "E-mail address", type: "email", autoComplete: "email" },
  { name: "password", label: "Password", type: "password", autoComplete: "current-password" },
];

export default async function SignInPage({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const hasFailed = valueOf(await searchParams, "failed");
  if (isCognito) {
    return (
      <main>
        {hasFailed && <p role="alert">Signing in did not work. Please try again.</p>}
        <a href="/cognito">Sign in or sign up</a> {/* no Link: it would be fetched before it is followed */}
        <Form action={signOut} submit="Use another account" />
      </main>
    );
  }
  return (
    <main>
      <Form action={signIn} fields={FIELDS} submit="Sign in" />
      <Link href="/signup">I am new here</Link> <Link href="/reset-password">I forgot my password</Link>
    </main>
  );
}
