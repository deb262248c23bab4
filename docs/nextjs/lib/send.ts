import "server-only";

const TIMEOUT_MS = 10_000;

/** Sends the body as text: that of a `Request` goes out without its length. A server that is away is a 503. */
export async function send(request: Request, options: RequestInit): Promise<Response> {
  const { url, method, headers } = request;
  const body = method === "GET" ? null : await request.text();
  try {
    return await fetch(url, { method, headers, body, signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof DOMException && error.name === "TimeoutError")) {
      throw error; // Next.js throws, too, and wants its errors back
    }
    const { host, pathname } = new URL(url);
    console.error(`${host} can't be reached for ${pathname}: ${error.message}`);
    const failure = { code: "service_unavailable", message: "The service is not available at the moment." };
    return Response.json({ error: failure }, { status: 503, headers: { "Retry-After": "5" } });
  }
}
