"use client";

/** Takes the place of a page that has thrown, under the header. */
export default function ErrorPage({ retry }: { retry: () => void }) {
  return (
    <div role="alert">
      <h1>This page is not available at the moment</h1>
      <button onClick={retry}>Try again</button>
    </div>
  );
}
