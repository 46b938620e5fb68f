// An OpenID provider for tests, on this machine alone: node provider.mjs MODULES, its settings as JSON on stdin.
// It prints its address once it serves; whoever types a login is that person (`sub`), with the groups of `groups`.
// POST /test/rotate signs with a new key from then on, and takes the old one back.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";

const { default: Provider } = await import(pathToFileURL(`${process.argv[2]}/oidc-provider/lib/index.js`));
const asked = JSON.parse(readFileSync(0, "utf8"));
let answer;
const server = createServer((request, response) => {
  if (request.method === "POST" && request.url === "/test/rotate") {
    answer = made();
    response.end();
  } else {
    answer(request, response);
  }
});

const aKey = () => ({
  ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }),
  kid: randomUUID(),
  use: "sig",
  alg: "RS256",
});

function made() {
  const provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
    clients: [
      {
        client_id: "console",
        client_secret: asked.secret,
        application_type: "native", // a port of the loopback interface may be any: RFC 8252, 7.3
        redirect_uris: ["http://127.0.0.1/sign-in/return"],
        post_logout_redirect_uris: ["http://127.0.0.1/sign-in"],
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
    ],
    claims: { openid: ["sub"], groups: ["groups"] },
    conformIdTokenClaims: false,
    scopes: ["openid", "groups"],
    cookies: { keys: [randomUUID()] },
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, groups: asked.groups[id] ?? [] }),
    }),
    jwks: { keys: [aKey()] },
    pkce: { required: () => true },
    // nobody is asked for consent: the provider's own organisation runs the console
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({
        clientId: context.oidc.client.clientId,
        accountId: context.oidc.session.accountId,
      });
      grant.addOIDCScope("openid groups");
      await grant.save();
      return grant;
    },
  });
  return provider.callback();
}

server.listen(0, "127.0.0.1", () => {
  answer = made();
  process.stdout.write(`http://127.0.0.1:${server.address().port}\n`);
});
