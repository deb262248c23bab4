import { signOut } from "@/app/account/actions";
import { Form } from "@/components/form";
import { pageOf, Pages, type SearchParams } from "@/components/pages";
import { Notice, problemOf } from "@/components/problem";
import { api } from "@/lib/api";
import type { components } from "@/lib/schema";

type Meeting = components["schemas"]["OpportunityMatchRead"]["meetings"][number];

const REASONS = { met: "you have it", below: "you have less", missing: "new to you" };

export const instant = false;

export default async function MatchesPage({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  const answer = await api.GET("/api/users/me/matches/", { params: { query: pageOf(params) } });
  if (!answer.data) {
    return <Notice problem={problemOf(answer)} />;
  }
  return (
    <main>
      <Pages path="/matches" params={params} response={answer.response} />
      {answer.data.map(({ opportunity, score, skills, ...match }) => (
        <article key={opportunity.id}>
          <h2>
            {opportunity.role_title} at {opportunity.project_name}
          </h2>
          <p>
            {Math.floor(score * 100)} %: you meet {match.met_count} of {match.required_count}{" "}
            {match.required_count === 1 ? "skill" : "skills"} asked.
            {match.fits_hours === false && " It asks for more hours than you have."}
          </p>
          {match.meetings.length > 0 && <p>Meetings: {match.meetings.map(inWords).join(", ")}</p>}
          <ul>
            {skills.map(({ skill, name, required, status }) => (
              <li key={skill}>
                {name} at level {required}: {REASONS[status]}
              </li>
            ))}
          </ul>
        </article>
      ))}
      <Form action={signOut} submit="Sign out" />
    </main>
  );
}

/** When it is on the volunteer's clock, and whether they are free; as posted where they gave no time. */
function inWords({ local, fits, ...posted }: Meeting) {
  const { day, start, timezone } = local ?? posted;
  const answer = fits === null ? timezone : fits ? "yes" : "no";
  return `${day.charAt(0).toUpperCase()}${day.slice(1)} ${start} ${answer}`;
}
