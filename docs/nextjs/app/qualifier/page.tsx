import Link from "next/link";
import { Suspense } from "react";
import { saveCommunity, saveSkills, saveTime } from "@/app/qualifier/actions";
import { Form } from "@/components/form";
import { type SearchParams, valueOf } from "@/components/pages";
import { dataOf } from "@/lib/answer";
import { publicApi, readMe } from "@/lib/api";
import { versionField } from "@/lib/form";
import { timeFields } from "@/lib/qualifier";

export const metadata = { title: "About you" };

export default function QualifierPage({ searchParams }: PageProps<"/qualifier">) {
  return (
    <>
      <h1>About you</h1>
      <Suspense fallback={<p>Loading…</p>}>
        <Qualifier searchParams={searchParams} />
      </Suspense>
    </>
  );
}

async function Qualifier({ searchParams }: { searchParams: Promise<SearchParams> }) {
  const step = valueOf(await searchParams, "step");
  const here = step ? `/qualifier?${new URLSearchParams({ step })}` : "/qualifier";
  const answer = await readMe();
  const me = dataOf(answer, here);
  const version = versionField(answer.response);
  const community = me.community_of_practice ?? "";
  const missing = { community: !community, skills: !me.skills_learned.length, time: me.max_available_hours === null };
  const next = Object.entries(missing).find(([, isMissing]) => isMissing)?.[0];
  const key = `${step ?? next} ${version.value}`; // another step, or what was saved meanwhile, is another form
  switch (step ?? next) {
    case "community": {
      const communities = dataOf(await publicApi.GET("/api/communities-of-practice/"), here);
      const options = communities.map(({ id, name }) => ({ value: id, label: name }));
      const field = { name: "community_of_practice", label: "Your community of practice", value: community, options };
      return <Form key={key} action={saveCommunity} fields={[version, field]} submit="Save and go on" />;
    }
    case "skills": {
      const query = community ? { community_of_practice: community } : {};
      const skills = dataOf(await publicApi.GET("/api/skills/", { params: { query } }), here);
      const levels = new Map(me.skills_learned.map(({ skill, level }) => [skill, String(level)]));
      // A PATCH replaces the whole matrix, so that what was rated for another community has to be in the form.
      const rated = me.skills_learned.map(({ skill, name }) => [skill, name] as const);
      const names = new Map([...skills.map(({ id, name }) => [id, name] as const), ...rated]);
      const fields = [...names].map(([id, name]) => ({ name: id, label: name, type: "number", value: levels.get(id) }));
      return <Form key={key} action={saveSkills} fields={[version, ...fields]} submit="Save and go on" />;
    }
    case "time":
      return <Form key={key} action={saveTime} fields={[version, ...timeFields(me)]} submit="Save" />;
  }
  return (
    <>
      <p>
        Thank you, {me.first_name || me.email}. You rated {me.skills_learned.length} skills.
      </p>
      <Link href="/qualifier?step=community">Community</Link> <Link href="/qualifier?step=skills">Skills</Link>{" "}
      <Link href="/qualifier?step=time">Time</Link> <Link href="/matches">See what suits you</Link>
    </>
  );
}
