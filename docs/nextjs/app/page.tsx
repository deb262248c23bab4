import { OpportunityLinks } from "@/components/opportunity";
import { publicApi } from "@/lib/api";
import { dataOf } from "@/lib/answer";

/** Reads nothing of the visitor's, so that it is made once for all. */
export default async function HomePage() {
  const query = { status: ["open" as const], limit: 5 };
  const newest = dataOf(await publicApi.GET("/api/opportunities/", { params: { query } }), "/");
  const communities = dataOf(await publicApi.GET("/api/communities-of-practice/"), "/");
  return (
    <>
      <h1>Volunteer with civic tech</h1>
      <p>We look for people in {communities.map(({ name }) => name).join(", ")}.</p>
      <h2>Newest openings</h2>
      <OpportunityLinks opportunities={newest} />
    </>
  );
}
