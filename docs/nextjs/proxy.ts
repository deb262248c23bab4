import type { NextRequest } from "next/server";
import { refreshInTime } from "@/lib/cognito";

export const config = { matcher: "/((?!_next/|cognito).*)" };

export function proxy(request: NextRequest) {
  return refreshInTime(request);
}
