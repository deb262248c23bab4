import Link from "next/link";
import type { components } from "@/lib/schema";

export type Opportunity = components["schemas"]["OpportunityRead"];

export function OpportunityLinks({ opportunities }: { opportunities: Opportunity[] }) {
  return (
    <ul>
      {opportunities.map((opportunity) => (
        <li key={opportunity.id}>
          <Link href={`/opportunities/${opportunity.id}`}>{titleOf(opportunity)}</Link>, {opportunity.community_of_practice_name},{" "}
          {opportunity.min_hours_required} hours a week
        </li>
      ))}
    </ul>
  );
}

export function titleOf({ role_title, project_name }: Opportunity) {
  return `${role_title} at ${project_name}`;
}
