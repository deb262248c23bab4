import { cookies } from "next/headers";
import { api } from "@/lib/api";
import { isCognito, signOutOfCognito } from "@/lib/cognito";

/** For a plain form: a whole new page comes of it, so that nothing of the last user stays in this one. */
export async function POST(request: Request) {
  if (request.headers.get("Sec-Fetch-Site") === "cross-site") {
    return new Response(null, { status: 403 });
  }
  return new Response(null, { status: 303, headers: { Location: isCognito ? await signOutOfCognito() : await endSession() } });
}

/** The cookie goes also where the service is away. */
async function endSession() {
  await api.POST("/api/auth/logout/");
  (await cookies()).delete("sessionid");
  return "/signin";
}
