import { Suspense } from "react";
import { postOpportunity } from "@/app/opportunities/actions";
import { Form } from "@/components/form";
import { dataOf } from "@/lib/answer";
import { readMe } from "@/lib/api";
import { listingFields } from "@/lib/listing";

const HERE = "/opportunities/new";

export const metadata = { title: "Post an opportunity" };

export default function NewOpportunityPage() {
  return (
    <>
      <h1>Post an opportunity</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <NewOpportunity />
      </Suspense>
    </>
  );
}

async function NewOpportunity() {
  const me = dataOf(await readMe(), HERE);
  if (!me.is_project_manager) {
    return <p>Only project managers post opportunities.</p>;
  }
  return <Form key={me.id} action={postOpportunity} fields={await listingFields(HERE)} submit="Post" />;
}
