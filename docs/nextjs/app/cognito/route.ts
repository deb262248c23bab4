import { beginSignIn } from "@/lib/cognito";

export const GET = beginSignIn;
