import { Suspense } from "react";
import { OpportunityLinks } from "@/components/opportunity";
import { pageOf, Pages, type SearchParams, valueOf } from "@/components/pages";
import { Notice } from "@/components/problem";
import { publicApi } from "@/lib/api";
import { dataOf, problemOf } from "@/lib/answer";

const HERE = "/opportunities";

export const metadata = { title: "Opportunities" };

export default function OpportunitiesPage({ searchParams }: PageProps<"/opportunities">) {
  return (
    <>
      <h1>Opportunities</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <Opportunities searchParams={searchParams} />
      </Suspense>
    </>
  );
}

async function Opportunities({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  const [search, hours] = [valueOf(params, "search"), valueOf(params, "max_hours")];
  const junior = valueOf(params, "experience") === "junior" && { min_experience_required: ["junior" as const] };
  const filters = { ...(search && { search }), ...(hours && { max_hours: Number(hours) }), ...junior };
  const query = { status: ["open" as const], ...filters, ...pageOf(params) };
  const answer = await publicApi.GET("/api/opportunities/", { params: { query } });
  const isRefused = answer.response.status === 400; // what was entered is no number of hours
  return (
    <>
      <form role="search" noValidate>
        <label>
          Search <input type="search" name="search" defaultValue={search} />
        </label>
        <label>
          Hours a week, at most <input type="number" name="max_hours" min={0} max={168} defaultValue={hours} />
        </label>
        <label>
          <input type="checkbox" name="experience" value="junior" defaultChecked={Boolean(junior)} /> Junior roles only
        </label>
        <button>Search</button>
      </form>
      {isRefused && <Notice problem={problemOf(answer, HERE)} />}
      {!isRefused && <OpportunityLinks opportunities={dataOf(answer, HERE)} />}
      {!isRefused && <Pages path={HERE} params={params} response={answer.response} />}
    </>
  );
}
