import type { Field, Option } from "@/components/form";
import { publicApi } from "@/lib/api";
import { dataOf } from "@/lib/answer";
import { filledRows, rowsFor, textOf } from "@/lib/form";
import type { components } from "@/lib/schema";

type Listing = components["schemas"]["OpportunityRead"];

const STATUSES = ["draft", "open", "on_hold", "filled", "closed"] as const;
const ENVIRONMENTS = ["remote", "hybrid", "in_person"] as const;
const LEVELS_OF_EXPERIENCE = ["junior", "mid_level", "senior"] as const;

/** What a project manager fills in, beginning with what is stored. */
export async function listingFields(here: string, listing?: Listing): Promise<Field[]> {
  const stored = listing ? [listing] : [];
  const rated = listing?.skills_required ?? [];
  const projects = optionsOf([
    ...dataOf(await publicApi.GET("/api/projects/"), here),
    ...stored.map(({ project, project_name }) => ({ id: project, name: project_name })),
  ]);
  const roles = optionsOf([
    ...dataOf(await publicApi.GET("/api/roles/"), here).map(({ id, title }) => ({ id, name: title })),
    ...stored.map(({ role, role_title }) => ({ id: role, name: role_title })),
  ]);
  const skills = optionsOf([
    ...dataOf(await publicApi.GET("/api/skills/"), here),
    ...rated.map(({ skill, name }) => ({ id: skill, name })),
  ]);
  const rows = rowsFor(rated, 10).flatMap((row) => [
    { name: `skill ${row}`, label: `Skill ${row}`, value: rated[row - 1]?.skill, options: skills },
    { name: `level ${row}`, label: `Level of skill ${row}, from 1 to 5`, type: "number", value: String(rated[row - 1]?.level ?? "") },
  ]);
  return [
    { name: "project", label: "Project", value: listing?.project, options: projects },
    { name: "role", label: "Role", value: listing?.role, options: roles },
    { name: "body", label: "Description", type: "textarea", value: listing?.body },
    { name: "min_hours_required", label: "Hours a week", type: "number", value: String(listing?.min_hours_required ?? "") },
    { name: "min_experience_required", label: "Experience", value: listing?.min_experience_required, options: named(LEVELS_OF_EXPERIENCE) },
    { name: "work_environment", label: "Where", value: listing?.work_environment ?? "remote", options: named(ENVIRONMENTS) },
    { name: "status", label: "Status", value: listing?.status ?? "draft", options: named(STATUSES) },
    ...rows,
  ];
}

export function listingOf(form: FormData): components["schemas"]["OpportunityWrite"] {
  const rated = filledRows(form, "skill").map((row) => [textOf(form, `skill ${row}`), Number(textOf(form, `level ${row}`))] as const);
  return {
    project: textOf(form, "project"),
    role: textOf(form, "role"),
    body: textOf(form, "body"),
    min_hours_required: Number(textOf(form, "min_hours_required")),
    min_experience_required: LEVELS_OF_EXPERIENCE.find((known) => known === textOf(form, "min_experience_required")) ?? "",
    work_environment: ENVIRONMENTS.find((known) => known === textOf(form, "work_environment")),
    status: STATUSES.find((known) => known === textOf(form, "status")),
    skills_required_matrix: Object.fromEntries(rated),
  };
}

/** What is stored stays among the options when it is retired. */
function optionsOf(rows: { id: string; name: string }[]): Option[] {
  return [...new Map(rows.map(({ id, name }) => [id, name] as const))].map(([value, label]) => ({ value, label }));
}

function named(values: readonly string[]): Option[] {
  return values.map((value) => ({ value, label: value.replace("_", " ") }));
}
