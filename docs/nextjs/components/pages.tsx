import Link from "next/link";

const [PER_PAGE, LAST_PAGE] = [20, 100_000];
export type SearchParams = Record<string, string | string[] | undefined>;

/** A parameter of the page's address; one that is left empty doesn't count. */
export function valueOf(params: SearchParams, name: string) {
  return [params[name]].flat()[0] || undefined;
}

export function pageOf(params: SearchParams) {
  const page = Math.min(Math.max(1, Math.trunc(Number(valueOf(params, "page"))) || 1), LAST_PAGE);
  return { limit: PER_PAGE, offset: (page - 1) * PER_PAGE };
}

/** How many there are, as `X-Total-Count` tells, and the way to the pages before and after. */
export function Pages({ path, params, response }: { path: string; params: SearchParams; response: Response }) {
  const { offset } = pageOf(params);
  const total = Number(response.headers.get("X-Total-Count"));
  const addressOf = (start: number) => {
    const address = new URLSearchParams(Object.keys(params).map((name) => [name, valueOf(params, name) ?? ""]));
    address.set("page", String(start / PER_PAGE + 1));
    return `${path}?${address}`;
  };
  return (
    <nav aria-label="Pages">
      <span>{total} found</span>
      {offset > 0 && <Link href={addressOf(offset - PER_PAGE)}>Previous</Link>}
      {offset + PER_PAGE < total && <Link href={addressOf(offset + PER_PAGE)}>Next</Link>}
    </nav>
  );
}
