import type { Problem } from "@/lib/answer";

/** What is wrong with a page or a form, but for the fields `beside` which it is said. */
export function Notice({ problem, beside = [] }: { problem: Problem; beside?: string[] }) {
  const others = Object.entries(problem.fields).filter(([field]) => !beside.includes(field));
  return (
    <div role="alert">
      <p>{problem.message}</p>
      {problem.wait > 0 && <p>Wait {problem.wait} seconds before you try again.</p>}
      {problem.signIn && (
        <a href={problem.signIn} target="_blank">
          Sign in (in a new tab)
        </a>
      )}
      {others.flatMap(([, texts]) => texts).map((text) => <p key={text}>{text}</p>)}
    </div>
  );
}
