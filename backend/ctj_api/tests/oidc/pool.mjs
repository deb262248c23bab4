// An OpenID server with the paths of Cognito's hosted sign-in; prints its port. Its sign-in page takes any password.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { client, signOutUrl, users } = JSON.parse(process.argv[2]);
const server = createServer();

server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ ...client, require_auth_time: true }],
    routes: { authorization: "/oauth2/authorize", token: "/oauth2/token", jwks: "/.well-known/jwks.json" },
    claims: { openid: ["sub", "token_use"], email: ["email", "email_verified"], profile: ["given_name", "family_name"] },
    conformIdTokenClaims: false,
    cookies: { keys: ["tests only"] },
    pkce: { required: () => true },
    findAccount: (_context, sub) => users[sub] && { accountId: sub, claims: () => ({ sub, token_use: "id", ...users[sub] }) },
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
      grant.addOIDCScope("openid email profile");
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on("request", (request, response) => {
    const url = new URL(request.url, provider.issuer);
    if (url.pathname !== "/logout") {
      return answer(request, response);
    }
    const isKnown = url.searchParams.get("client_id") === client.client_id && url.searchParams.get("logout_uri") === signOutUrl;
    const ended = ["_session=; Max-Age=0; Path=/", "_session.sig=; Max-Age=0; Path=/"];
    response.writeHead(isKnown ? 302 : 400, isKnown ? { Location: signOutUrl, "Set-Cookie": ended } : {}).end();
  });
  console.log(port);
});
