import Link from "next/link";
import { readMe } from "@/lib/api";

/** The way to what the visitor may do. While the service is away, nobody knows who they are. */
export async function Header() {
  const { data: me, response } = await readMe();
  return (
    <>
      {me && <Link href="/matches">Matches</Link>}
      {me?.is_project_manager && <Link href="/opportunities/mine">Your listings</Link>}
      {me && <Link href="/qualifier">{me.first_name || me.email}</Link>}
      {me && (
        <form action="/signout" method="post">
          <button>Sign out</button>
        </form>
      )}
      {!me && response.status < 500 && <Link href="/signin">Sign in</Link>}
    </>
  );
}
