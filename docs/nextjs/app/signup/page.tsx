import { signUp } from "@/app/account/actions";
import { Form } from "@/components/form";

const FIELDS = [
  { name: "email", label: "E-mail address", type: "email", autoComplete: "email" },
  { name: "password", label: "Password", type: "password", autoComplete: "new-password" },
  { name: "first_name", label: "First name", autoComplete: "given-name" },
  { name: "last_name", label: "Last name", autoComplete: "family-name" },
];

export const metadata = { title: "Sign up" };

export default function SignUpPage() {
  return (
    <>
      <h1>Sign up</h1>
      <Form action={signUp} fields={FIELDS} submit="Sign up" />
    </>
  );
}
