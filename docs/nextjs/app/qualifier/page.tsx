import Link from "next/link";
import { saveCommunity, saveSkills, saveTime } from "@/app/qualifier/actions";
import { Form } from "@/components/form";
import { type SearchParams, valueOf } from "@/components/pages";
import { Notice, problemOf } from "@/components/problem";
import { api, publicApi } from "@/lib/api";
import { timeFields, VERSION } from "@/lib/qualifier";

export const instant = false;

export default async function QualifierPage({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const answer = await api.GET("/api/users/me/");
  if (!answer.data) {
    return <Notice problem={problemOf(answer)} />;
  }
  const me = answer.data;
  const version = { name: VERSION, type: "hidden", value: answer.response.headers.get("ETag") ?? "*" };
  const community = me.community_of_practice ?? "";
  const missing = { community: !community, skills: !me.skills_learned.length, time: me.max_available_hours === null };
  const next = Object.entries(missing).find(([, isMissing]) => isMissing)?.[0];
  switch (valueOf(await searchParams, "step") ?? next) {
    case "community": {
      const communities = await publicApi.GET("/api/communities-of-practice/");
      const options = communities.data?.map(({ id, name }) => ({ value: id, label: name })) ?? [];
      const field = { name: "community_of_practice", label: "Your community of practice", value: community, options };
      return <Form action={saveCommunity} fields={[version, field]} submit="Save and go on" />;
    }
    case "skills": {
      const query = { community_of_practice: community };
      const skills = await publicApi.GET("/api/skills/", { params: { query } });
      const levels = new Map(me.skills_learned.map(({ skill, level }) => [skill, String(level)]));
      const offered = skills.data?.map(({ id, name }) => [id, name] as const) ?? [];
      // A PATCH replaces the whole matrix, so that what was rated for another community has to be in the form.
      const names = new Map([...offered, ...me.skills_learned.map(({ skill, name }) => [skill, name] as const)]);
      const fields = [...names].map(([id, name]) => ({ name: id, label: name, type: "number", value: levels.get(id) }));
      return <Form action={saveSkills} fields={[version, ...fields]} submit="Save and go on" />;
    }
    case "time":
      return <Form action={saveTime} fields={[version, ...timeFields(me)]} submit="Save" />;
  }
  return (
    <main>
      <h1>Thank you, {me.first_name || me.email}</h1>
      <p>You rated {me.skills_learned.length} skills.</p>
      <Link href="/qualifier?step=community">Community</Link> <Link href="/qualifier?step=skills">Skills</Link>{" "}
      <Link href="/qualifier?step=time">Time</Link> <Link href="/matches">See what suits you</Link>
    </main>
  );
}
