import Link from "next/link";
import { Suspense } from "react";
import { signIn } from "@/app/account/actions";
import { Form } from "@/components/form";
import { type SearchParams, valueOf } from "@/components/pages";
import { isCognito } from "@/lib/cognito";

const FIELDS = [
  { name: "email", label: "E-mail address", type: "email", autoComplete: "email" },
  { name: "password", label: "Password", type: "password", autoComplete: "current-password" },
];

export const metadata = { title: "Sign in" };

export default function SignInPage({ searchParams }: PageProps<"/signin">) {
  return (
    <>
      <h1>Sign in</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <SignIn searchParams={searchParams} />
      </Suspense>
    </>
  );
}

async function SignIn({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  const next = valueOf(params, "next");
  if (isCognito) {
    return (
      <>
        {valueOf(params, "failed") && <p role="alert">Signing in did not work. Please try again.</p>}
        {/* no Link: it would be fetched before it is followed */}
        <a href={`/cognito?${new URLSearchParams({ next: next ?? "" })}`}>Sign in or sign up</a>
        <form action="/signout" method="post">
          <button>Use another account</button>
        </form>
      </>
    );
  }
  return (
    <>
      <Form action={signIn} fields={[...FIELDS, { name: "next", type: "hidden", value: next }]} submit="Sign in" />
      <p>
        <Link href="/signup">I am new here</Link> <Link href="/reset-password">I forgot my password</Link>
      </p>
    </>
  );
}
