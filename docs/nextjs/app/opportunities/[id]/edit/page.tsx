import { Suspense } from "react";
import { changeOpportunity } from "@/app/opportunities/actions";
import { Form } from "@/components/form";
import { dataOf } from "@/lib/answer";
import { api } from "@/lib/api";
import { versionField } from "@/lib/form";
import { listingFields } from "@/lib/listing";

type Props = { params: Promise<{ id: string }> };

export const metadata = { title: "Edit an opportunity" };

export default function EditOpportunityPage({ params }: Props) {
  return (
    <>
      <h1>Edit an opportunity</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <EditOpportunity params={params} />
      </Suspense>
    </>
  );
}

/** Reads past the kept answers, for the form has to be made from the version that it names. */
async function EditOpportunity({ params }: Props) {
  const { id } = await params;
  const here = `/opportunities/${id}/edit`;
  const answer = await api.GET("/api/opportunities/{id}/", { params: { path: { id } } });
  const listing = dataOf(answer, here);
  const version = versionField(answer.response);
  const fields = [version, { name: "id", type: "hidden", value: id }, ...(await listingFields(here, listing))];
  return <Form key={version.value} action={changeOpportunity} fields={fields} submit="Save" />;
}
