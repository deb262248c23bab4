// Runs two OpenID servers with the paths of Cognito's own pages, and prints a deployment's settings for each, in JSON.
// oidc-provider knows all of OpenID Connect and takes any password; cognito-local gives no nonce back.
import { once } from "node:events";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [origin, password, ...emails] = process.argv.slice(2);
const callback = `${origin}/admin/cognito/callback/`;
const signOutUrl = `${origin}/admin/login/`;
const client = { client_id: "admin-client", client_secret: "admin-secret", redirect_uris: [callback], require_auth_time: true };

const listen = async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  return [server, server.address().port];
};

const runProvider = async () => {
  const [server, port] = await listen();
  const domain = `http://127.0.0.1:${port}`;
  const provider = new Provider(domain, {
    clients: [client],
    routes: { authorization: "/oauth2/authorize", token: "/oauth2/token", jwks: "/.well-known/jwks.json" },
    claims: { openid: ["sub", "token_use"], email: ["email", "email_verified"] },
    scopes: ["openid", "email", "profile"],
    conformIdTokenClaims: false,
    cookies: { keys: ["tests only"] },
    pkce: { required: () => true },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({ sub, token_use: "id", email: sub, email_verified: emails.includes(sub) }),
    }),
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
      grant.addOIDCScope("openid email profile");
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on("request", (request, response) => {
    const { pathname, searchParams } = new URL(request.url, domain);
    if (pathname !== "/logout") {
      return answer(request, response);
    }
    const isKnown = searchParams.get("client_id") === client.client_id && searchParams.get("logout_uri") === signOutUrl;
    const ended = ["_session=; Max-Age=0; Path=/", "_session.sig=; Max-Age=0; Path=/"];
    response.writeHead(isKnown ? 302 : 400, isKnown ? { Location: signOutUrl, "Set-Cookie": ended } : {}).end();
  });
  return { COGNITO_DOMAIN: domain, COGNITO_ISSUERS: [domain] };
};

const runCognitoLocal = async () => {
  const [free, port] = await listen();
  await once(free.close(), "close");
  const domain = `http://127.0.0.1:${port}`;
  Object.assign(process.env, { HOST: "127.0.0.1", PORT: port });
  const { createDefaultServer } = (await import("cognito-local")).default;
  const silent = { child: () => silent, ...Object.fromEntries(["trace", "debug", "info", "warn", "error", "fatal"].map((level) => [level, () => {}])) };
  await (await createDefaultServer(silent)).start();
  const call = async (action, body) => {
    const headers = { "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}`, "Content-Type": "application/x-amz-json-1.1" };
    return (await fetch(domain, { method: "POST", headers, body: JSON.stringify(body) })).json();
  };
  const { UserPool } = await call("CreateUserPool", { PoolName: "tests" });
  const pool = { UserPoolId: UserPool.Id };
  for (const email of emails) {
    const attributes = [{ Name: "email", Value: email }, { Name: "email_verified", Value: "true" }];
    await call("AdminCreateUser", { ...pool, Username: email, UserAttributes: attributes, MessageAction: "SUPPRESS" });
    await call("AdminSetUserPassword", { ...pool, Username: email, Password: password, Permanent: true });
  }
  const asked = { ...pool, ClientName: "admin", GenerateSecret: true, CallbackURLs: [callback] };
  const { UserPoolClient } = await call("CreateUserPoolClient", asked);
  return {
    COGNITO_DOMAIN: domain,
    COGNITO_ISSUERS: [`${domain}/${UserPool.Id}`],
    COGNITO_ADMIN_CLIENT_ID: UserPoolClient.ClientId,
    COGNITO_ADMIN_CLIENT_SECRET: UserPoolClient.ClientSecret,
    COGNITO_NONCE_REQUIRED: false,
  };
};

console.log(JSON.stringify([await runProvider(), await runCognitoLocal()]));
