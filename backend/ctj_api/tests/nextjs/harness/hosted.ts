// The hosted pages and OAuth endpoints of Cognito, which moto lacks, in front of a user pool of moto's.
import { createHash, randomUUID } from "node:crypto";

const { COGNITO_CLIENT_ID, COGNITO_CLIENT_SECRET, MOTO_URL = "", POOL, PASSWORD } = process.env;
const BASIC = `Basic ${Buffer.from(`${COGNITO_CLIENT_ID}:${COGNITO_CLIENT_SECRET}`).toString("base64")}`;

export const pages = { user: "ana@example.org" }; // who signs in, at once
const begun = new Map<string, URLSearchParams>();

export async function answer(request: Request): Promise<Response> {
  const { pathname, searchParams: query } = new URL(request.url);
  if (pathname === "/oauth2/authorize") {
    const [code, state] = [randomUUID(), query.get("state") ?? ""];
    begun.set(code, query);
    return Response.redirect(`${query.get("redirect_uri")}?${new URLSearchParams({ code, state })}`);
  }
  if (pathname === "/logout") {
    return Response.redirect(query.get("logout_uri") ?? "");
  }
  if (request.headers.get("authorization") !== BASIC) {
    return Response.json({ error: "invalid_client" }, { status: 401 });
  }
  const form = new URLSearchParams(await request.text());
  if (pathname === "/oauth2/revoke") {
    return moto("AdminUserGlobalSignOut", { Username: pages.user });
  }
  const [AuthFlow, AuthParameters] = await credentialsOf(form);
  const response = await moto("InitiateAuth", { AuthFlow, AuthParameters, ClientId: COGNITO_CLIENT_ID });
  if (!response.ok) {
    return Response.json({ error: "invalid_grant" }, { status: 400 });
  }
  const { IdToken, RefreshToken } = (await response.json()).AuthenticationResult;
  return Response.json({ id_token: IdToken, refresh_token: RefreshToken });
}

/** What moto asks for the tokens of a grant; a wrong password for a code that is worth nothing. */
async function credentialsOf(form: URLSearchParams) {
  if (form.get("grant_type") === "refresh_token") {
    return ["REFRESH_TOKEN_AUTH", { REFRESH_TOKEN: form.get("refresh_token") }] as const;
  }
  const asked = begun.get(form.get("code") ?? "");
  begun.delete(form.get("code") ?? "");
  const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
  const isRight =
    asked?.get("code_challenge_method") === "S256" &&
    asked.get("code_challenge") === challenge &&
    asked.get("client_id") === COGNITO_CLIENT_ID &&
    asked.get("redirect_uri") === form.get("redirect_uri");
  // moto puts nothing into tokens but attributes of the user.
  const UserAttributes = [{ Name: "nonce", Value: asked?.get("nonce") ?? "" }];
  await moto("AdminUpdateUserAttributes", { Username: pages.user, UserAttributes });
  return ["USER_PASSWORD_AUTH", { USERNAME: pages.user, PASSWORD: isRight ? PASSWORD : "" }] as const;
}

function moto(action: string, values: object) {
  const headers = { "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}` };
  return fetch(MOTO_URL, { method: "POST", headers, body: JSON.stringify({ UserPoolId: POOL, ...values }) });
}
