import Link from "next/link";
import { Suspense } from "react";
import { OpportunityLinks } from "@/components/opportunity";
import { dataOf } from "@/lib/answer";
import { api } from "@/lib/api";

export const metadata = { title: "Your listings" };

export default function MinePage() {
  return (
    <>
      <h1>Your listings</h1>
      <p>
        <Link href="/opportunities/new">Post an opportunity</Link>
      </p>
      <Suspense fallback={<p>Loading…</p>}>
        <Mine />
      </Suspense>
    </>
  );
}

/** Drafts, too. */
async function Mine() {
  const answer = await api.GET("/api/opportunities/", { params: { query: { created_by: "me" } } });
  return <OpportunityLinks opportunities={dataOf(answer, "/opportunities/mine")} />;
}
