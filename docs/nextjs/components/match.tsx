import type { components } from "@/lib/schema";

export type Match = components["schemas"]["OpportunityMatchRead"];
type Meeting = Match["meetings"][number];

const REASONS = { met: "you have it", below: "you have less", missing: "new to you" };

export function MatchInWords({ match: { score, skills, met_count, required_count, fits_hours, meetings } }: { match: Match }) {
  return (
    <>
      <p>
        {Math.floor(Math.round(score * 10_000) / 100)} %: you meet {met_count} of {required_count} {required_count === 1 ? "skill" : "skills"} asked.
        {fits_hours === false && " It asks for more hours than you have."}
      </p>
      {meetings.length > 0 && <p>Meetings: {meetings.map(inWords).join(", ")}</p>}
      <ul>
        {skills.map(({ skill, name, required, status }) => (
          <li key={skill}>
            {name} at level {required}: {REASONS[status]}
          </li>
        ))}
      </ul>
    </>
  );
}

/** When it is on the volunteer's clock, and whether they are free; as posted where they gave no time. */
function inWords({ local, fits, ...posted }: Meeting) {
  const { day, start, timezone } = local ?? posted;
  const answer = fits === null ? timezone : fits ? "yes" : "no";
  return `${day.charAt(0).toUpperCase()}${day.slice(1)} ${start} ${answer}`;
}
