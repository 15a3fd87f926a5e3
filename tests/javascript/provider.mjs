// An OpenID Connect provider. Whoever signs in is who they say; what it says of them is in the file of the third argument.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const [port, redirectUri, people] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "isthmus", client_secret: "a secret: with %+ signs", redirect_uris: [redirectUri] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  cookies: { keys: ["a key"] },
  pkce: { required: () => true },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, ...JSON.parse(readFileSync(people))[id] }) }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
