import Link from "next/link";
import { readMe } from "@/lib/api";

/** The way to what the visitor may do. While the service is away, nobody knows who they are. */
export async function Header() {
  const { data: me, error, response } = await readMe();
  const isRefused = error?.error.code === "permission_denied"; // an account of Cognito that may not come in
  return (
    <>
      {me && <Link href="/matches">Matches</Link>}
      {me?.is_project_manager && <Link href="/opportunities/mine">Your listings</Link>}
      {me && <Link href="/qualifier">{me.first_name || me.email}</Link>}
      {isRefused && <p role="alert">{error.error.message}</p>}
      {me || isRefused ? (
        <form action="/signout" method="post">
          <button>Sign out</button>
        </form>
      ) : (
        response.status < 500 && <Link href="/signin">Sign in</Link>
      )}
    </>
  );
}
