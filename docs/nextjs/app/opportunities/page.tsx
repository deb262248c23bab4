import { pageOf, Pages, type SearchParams, valueOf } from "@/components/pages";
import { Notice, problemOf } from "@/components/problem";
import { publicApi } from "@/lib/api";

export const instant = false;

export default async function OpportunitiesPage({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const params = await searchParams;
  const [search, hours] = [valueOf(params, "search"), valueOf(params, "max_hours")];
  const junior = valueOf(params, "experience") === "junior" && { min_experience_required: ["junior" as const] };
  const filters = { ...(search && { search }), ...(hours && { max_hours: Number(hours) }), ...junior };
  const query = { status: ["open" as const], ...filters, ...pageOf(params) };
  const answer = await publicApi.GET("/api/opportunities/", { params: { query } });
  return (
    <main>
      <form role="search">
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
      {!answer.data && <Notice problem={problemOf(answer)} />}
      {answer.data && <Pages path="/opportunities" params={params} response={answer.response} />}
      {answer.data?.map((opportunity) => (
        <article key={opportunity.id}>
          <h2>
            {opportunity.role_title} at {opportunity.project_name}
          </h2>
          <p style={{ whiteSpace: "pre-line" }}>{opportunity.body}</p>
          <p>{opportunity.skills_required.map(({ name, level }) => `${name} ${level}`).join(", ")}</p>
        </article>
      ))}
    </main>
  );
}
