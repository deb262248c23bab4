import Link from "next/link";
import { signIn } from "@/app/account/actions";
import { Form } from "@/components/form";

const FIELDS = [
  { name: "email", label: "E-mail address", type: "email", autoComplete: "email" },
  { name: "password", label: "Password", type: "password", autoComplete: "current-password" },
];

export default function SignInPage() {
  return (
    <main>
      <Form action={signIn} fields={FIELDS} submit="Sign in" />
      <Link href="/signup">I am new here</Link> <Link href="/reset-password">I forgot my password</Link>
    </main>
  );
}
