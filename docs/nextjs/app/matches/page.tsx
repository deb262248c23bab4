import Link from "next/link";
import { Suspense } from "react";
import { type Match, MatchInWords } from "@/components/match";
import { titleOf } from "@/components/opportunity";
import { pageOf, Pages, type SearchParams, valueOf } from "@/components/pages";
import { dataOf } from "@/lib/answer";
import { api, readMe } from "@/lib/api";

const HERE = "/matches";
const FEW = 5;
const NOTES: Record<string, string> = {
  "no-skills-rated": "Rate your skills first.",
  "none-open": "Nobody is looking for volunteers at the moment.",
  "none-overlap": "No open role asks for a skill that you have rated.",
  "none-left": "Nothing is left of your matches: ask for less.",
};

export const metadata = { title: "What suits you" };

export default function MatchesPage({ searchParams }: PageProps<"/matches">) {
  return (
    <>
      <h1>What suits you</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <Ranked searchParams={searchParams} />
      </Suspense>
    </>
  );
}

async function Ranked({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  const fits = valueOf(params, "fits");
  const narrowed = fits === "all" ? { fits: "all" as const } : fits === "true" ? { fits: true } : {};
  const query = { ...pageOf(params), ...narrowed };
  const own = dataOf(await readMe(), HERE).community_of_practice;
  const answer = await api.GET("/api/users/me/matches/", { params: { query } });
  const all = dataOf(answer, HERE);
  const inOwn = { params: { query: { ...query, ...(own && { community_of_practice: own }) } } };
  const near = own && query.offset === 0 ? dataOf(await api.GET("/api/users/me/matches/", inOwn), HERE) : [];
  const others = near.length > 0 ? all.filter(({ opportunity }) => opportunity.community_of_practice !== own) : all;
  return (
    <>
      <form>
        <label htmlFor="fits">Only those that I have time for</label>
        <select id="fits" name="fits" defaultValue={fits ?? ""}>
          <option value="">no</option>
          <option value="true">one meeting is enough</option>
          <option value="all">all meetings</option>
        </select>
        <button>Show</button>
      </form>
      <p>{NOTES[answer.response.headers.get("X-Match-Note") ?? ""]}</p>
      <Matches heading="In your community" matches={near} />
      <Matches heading={near.length > 0 ? "Elsewhere" : "All communities"} matches={others} />
      <Pages path={HERE} params={params} response={answer.response} />
      {all.length < FEW && (
        <p>
          Look at <Link href="/opportunities?experience=junior">junior roles</Link> too, or{" "}
          <Link href="/qualifier?step=skills">rate more skills of your community</Link>.
        </p>
      )}
    </>
  );
}

function Matches({ heading, matches }: { heading: string; matches: Match[] }) {
  return (
    matches.length > 0 && (
      <section>
        <h2>{heading}</h2>
        {matches.map((match) => (
          <article key={match.opportunity.id}>
            <h3>
              <Link href={`/opportunities/${match.opportunity.id}`}>{titleOf(match.opportunity)}</Link>
            </h3>
            <MatchInWords match={match} />
          </article>
        ))}
      </section>
    )
  );
}
