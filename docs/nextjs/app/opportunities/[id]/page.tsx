import Link from "next/link";
import { Suspense } from "react";
import { deleteOpportunity } from "@/app/opportunities/actions";
import { Form } from "@/components/form";
import { MatchInWords } from "@/components/match";
import { type Opportunity, titleOf } from "@/components/opportunity";
import { dataOf } from "@/lib/answer";
import { api, readMe } from "@/lib/api";

type Props = { params: Promise<{ id: string }> };

export default function OpportunityPage({ params }: Props) {
  return (
    <Suspense fallback={<p>Loading…</p>}>
      <Details params={params} />
    </Suspense>
  );
}

async function Details({ params }: Props) {
  const { id } = await params;
  const answer = await api.GET("/api/opportunities/{id}/", { params: { path: { id } } });
  const opportunity = dataOf(answer, `/opportunities/${id}`);
  const { status, work_environment, min_hours_required, meeting_times, project_meeting_times } = opportunity;
  const { timezone, slots } = meeting_times ?? project_meeting_times ?? { timezone: "", slots: [] };
  return (
    <article>
      <title>{titleOf(opportunity)}</title>
      <h1>{titleOf(opportunity)}</h1>
      <p>
        {opportunity.community_of_practice_name}, {work_environment.replace("_", " ")}, {min_hours_required} hours a week:{" "}
        {status.replace("_", " ")}
      </p>
      <p style={{ whiteSpace: "pre-line" }}>{opportunity.body}</p>
      <p>Skills: {opportunity.skills_required.map(({ name, level }) => `${name} ${level}`).join(", ") || "none"}</p>
      <p>
        Meetings: {slots.map(({ day, start, end }) => `${day} ${start} to ${end}`).join(", ") || "none"} {timezone}
      </p>
      <Suspense>
        <ForYou opportunity={opportunity} />
      </Suspense>
    </article>
  );
}

/** How well it suits a volunteer, and what a project manager can do with it. */
async function ForYou({ opportunity: { id, created_by } }: { opportunity: Opportunity }) {
  const { data: me } = await readMe();
  if (!me) {
    return <Link href={`/signin?next=/opportunities/${id}`}>Sign in to see how well it suits you</Link>;
  }
  const { data: match } = await api.GET("/api/users/me/matches/{id}/", { params: { path: { id } } });
  return (
    <>
      {match && me.skills_learned.length > 0 && <MatchInWords match={match} />}
      {me.is_project_manager && me.email === created_by && <Link href={`/opportunities/${id}/edit`}>Edit</Link>}
      {me.is_project_manager && (
        <details>
          <summary>Delete</summary>
          <Form action={deleteOpportunity} fields={[{ name: "id", type: "hidden", value: id }]} submit="Delete" />
        </details>
      )}
    </>
  );
}
