import Link from "next/link";
import { signOut } from "@/app/account/actions";
import { Form } from "@/components/form";
import { pageOf, Pages, type SearchParams, valueOf } from "@/components/pages";
import { Notice, problemOf } from "@/components/problem";
import { api } from "@/lib/api";
import type { components } from "@/lib/schema";

type Match = components["schemas"]["OpportunityMatchRead"];
type Meeting = Match["meetings"][number];

const FEW = 5;
const REASONS = { met: "you have it", below: "you have less", missing: "new to you" };

export const instant = false;

export default async function MatchesPage({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  const fits = valueOf(params, "fits");
  const narrowed = fits === "all" ? { fits: "all" as const } : fits === "true" ? { fits: true } : {};
  const query = { ...pageOf(params), ...narrowed };
  const [me, answer] = [await api.GET("/api/users/me/"), await api.GET("/api/users/me/matches/", { params: { query } })];
  if (!me.data || !answer.data) {
    return <Notice problem={problemOf(me.data ? answer : me)} />;
  }
  const own = me.data.community_of_practice;
  const near =
    own && query.offset === 0
      ? await api.GET("/api/users/me/matches/", { params: { query: { ...query, community_of_practice: own } } })
      : undefined;
  const elsewhere = answer.data.filter(({ opportunity }) => !near?.data || opportunity.community_of_practice !== own);
  return (
    <main>
      <form>
        <label>
          Only those that I have time for{" "}
          <select name="fits" defaultValue={fits ?? ""}>
            <option value="">no</option>
            <option value="true">one meeting is enough</option>
            <option value="all">all meetings</option>
          </select>
        </label>
        <button>Show</button>
      </form>
      <Pages path="/matches" params={params} response={answer.response} />
      <Matches heading="In your community" matches={near?.data ?? []} />
      <Matches heading="Elsewhere" matches={elsewhere} />
      {answer.data.length < FEW && (
        <p>
          Look at <Link href="/opportunities?experience=junior">junior roles</Link> too, or{" "}
          <Link href="/qualifier?step=skills">rate more skills of your community</Link>.
        </p>
      )}
      <Form action={signOut} submit="Sign out" />
    </main>
  );
}

function Matches({ heading, matches }: { heading: string; matches: Match[] }) {
  return (
    matches.length > 0 && (
      <section>
        <h2>{heading}</h2>
        {matches.map(({ opportunity, score, skills, ...match }) => (
          <article key={opportunity.id}>
            <h3>
              {opportunity.role_title} at {opportunity.project_name}
            </h3>
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
      </section>
    )
  );
}

/** When it is on the volunteer's clock, and whether they are free; as posted where they gave no time. */
function inWords({ local, fits, ...posted }: Meeting) {
  const { day, start, timezone } = local ?? posted;
  const answer = fits === null ? timezone : fits ? "yes" : "no";
  return `${day.charAt(0).toUpperCase()}${day.slice(1)} ${start} ${answer}`;
}
