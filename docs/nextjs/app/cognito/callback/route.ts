import { endSignIn } from "@/lib/cognito";

export const GET = endSignIn;
