const LOCAL = /^(\/[\w-]+)+(\?[^\s\\]*)?$/;

/** The page to go to after signing in, where it is one of this site. */
export function pageAfter(next = "") {
  return LOCAL.test(next) ? next : "/qualifier";
}

export function signInTo(here: string) {
  return `/signin?${new URLSearchParams({ next: here })}`;
}
