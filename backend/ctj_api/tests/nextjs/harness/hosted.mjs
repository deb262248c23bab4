// The hosted pages and OAuth endpoints of Cognito, which moto lacks, in front of a user pool of moto's.
import { createHash, randomUUID } from "node:crypto";
import { listen } from "./servers.mjs";

const { COGNITO_CLIENT_ID, COGNITO_CLIENT_SECRET, MOTO_URL, POOL, PASSWORD } = process.env;
const BASIC = `Basic ${Buffer.from(`${COGNITO_CLIENT_ID}:${COGNITO_CLIENT_SECRET}`).toString("base64")}`;
const begun = new Map();

// Who signs in, at once; what the way back is changed to; whether the endpoints are away; what was asked of them.
export const hosted = { user: "ana@example.org", change: (address) => address, away: false, asked: [] };

export const domain = await listen(async ({ url, headers }, response, body) => {
  const { pathname, searchParams: query } = new URL(url, "http://hosted");
  hosted.asked.push(pathname);
  if (hosted.away) {
    return response.destroy();
  }
  if (pathname === "/oauth2/authorize") {
    const [code, state] = [randomUUID(), query.get("state")];
    begun.set(code, query);
    const back = await hosted.change(`${query.get("redirect_uri")}?${new URLSearchParams({ code, state })}`);
    return response.writeHead(302, { Location: back }).end();
  }
  if (pathname === "/logout") {
    return response.writeHead(302, { Location: query.get("logout_uri") }).end();
  }
  const [status, answer] = headers.authorization === BASIC ? await grant(pathname, new URLSearchParams(String(body))) : [401, "invalid_client"];
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
});

async function grant(pathname, form) {
  if (pathname === "/oauth2/revoke") {
    await moto("AdminUserGlobalSignOut", { Username: hosted.user });
    return [200, {}];
  }
  const [AuthFlow, AuthParameters] = await credentialsOf(form);
  const response = await moto("InitiateAuth", { AuthFlow, AuthParameters, ClientId: COGNITO_CLIENT_ID });
  if (!response.ok) {
    return [400, { error: "invalid_grant" }];
  }
  const { IdToken, RefreshToken } = (await response.json()).AuthenticationResult;
  return [200, { id_token: IdToken, refresh_token: RefreshToken }];
}

/** What moto asks for the tokens of a grant; a wrong password for a code that is worth nothing. */
async function credentialsOf(form) {
  if (form.get("grant_type") === "refresh_token") {
    return ["REFRESH_TOKEN_AUTH", { REFRESH_TOKEN: form.get("refresh_token") }];
  }
  const asked = begun.get(form.get("code"));
  begun.delete(form.get("code"));
  const challenge = createHash("sha256").update(form.get("code_verifier")).digest("base64url");
  const isRight =
    asked?.get("code_challenge_method") === "S256" &&
    asked.get("code_challenge") === challenge &&
    asked.get("client_id") === COGNITO_CLIENT_ID &&
    asked.get("redirect_uri") === form.get("redirect_uri");
  // moto puts nothing into tokens but attributes of the user.
  const UserAttributes = [{ Name: "nonce", Value: asked?.get("nonce") ?? "" }];
  await moto("AdminUpdateUserAttributes", { Username: hosted.user, UserAttributes });
  return ["USER_PASSWORD_AUTH", { USERNAME: hosted.user, PASSWORD: isRight ? PASSWORD : "" }];
}

function moto(action, values) {
  const headers = { "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}` };
  return fetch(MOTO_URL, { method: "POST", headers, body: JSON.stringify({ UserPoolId: POOL, ...values }) });
}
