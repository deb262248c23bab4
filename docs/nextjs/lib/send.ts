import "server-only";

const TIMEOUT_MS = 10_000;
const OUTAGE = { code: "service_unavailable", message: "The service is not available at the moment." };

/** A server that is away, breaks off, or answers with anything but JSON is a 503. */
export async function send(request: Request, options: RequestInit): Promise<Response> {
  const { url, method, headers } = request;
  const sent = method === "GET" ? null : await request.text(); // as text: a stream goes out without its length
  try {
    const response = await fetch(url, { method, headers, body: sent, signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
    const body = await response.text();
    if (body) {
      JSON.parse(body);
    }
    return new Response(body || null, response);
  } catch (error) {
    if (!(error instanceof Error && ["TypeError", "TimeoutError", "SyntaxError"].includes(error.name))) {
      throw error; // Next.js throws, too, and wants its errors back
    }
    const { host, pathname } = new URL(url);
    console.error(`${host} has no answer to ${method} ${pathname}: ${error.message}`);
    return Response.json({ error: OUTAGE }, { status: 503, headers: { "Retry-After": "5" } });
  }
}
