/** Bearers at HTTP routes: over Node's own server, as Express and Connect call it, and as Fastify does. */
import assert from "node:assert/strict";
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";

import {
  Channel,
  type Secret,
  TokenKind,
  Verifier,
  expressBearer,
  fastifyBearer,
  newToken,
  principalOf,
} from "../src/index.js";
import { until } from "./control-plane.js";
import { TokenRegistry } from "./token-registry.js";

const TOKEN = newToken(TokenKind.API);
const registry = new TokenRegistry();
let verifier: Verifier;
let toRegistry: Channel;
let server: Server;

before(async () => {
  registry.admit(TOKEN, "w1", { scopes: ["tasks:read"] });
  toRegistry = await registry.start();
  verifier = new Verifier(toRegistry, { log: () => undefined }).start();
  const workspaceOf = (request: IncomingMessage) => request.url?.split("/")[2] ?? "";
  const routes = {
    any: expressBearer(verifier),
    of: expressBearer(verifier, { workspaceOf }),
    write: expressBearer(verifier, { scopes: ["tasks:read", "tasks:write"] }),
    box: expressBearer(verifier, { kind: TokenKind.INSTANCE }),
  };
  server = createServer((request, response) => {
    const route = routes[request.url?.split("/")[1] as keyof typeof routes];
    route(request, response, (error) => response.end(error ? "fault" : principalOf(request).workspaceId));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

after(async () => {
  await verifier.close();
  toRegistry.close();
  registry.stop();
  server.close();
});

function get(path: string, authorization?: string): Promise<Response> {
  const { port } = server.address() as AddressInfo;
  return fetch(`http://127.0.0.1:${port}${path}`, authorization === undefined ? {} : { headers: { authorization } });
}

function bearer(token: Secret): string {
  return `Bearer ${token.reveal()}`;
}

test("a route knows who calls it", async () => {
  for (const path of ["/any", "/of/w1"]) {
    const answer = await get(path, bearer(TOKEN));
    assert.deepEqual([answer.status, await answer.text()], [200, "w1"]);
  }
});

const REALM = 'Bearer realm="agentworkspace"';
const SCOPES = `${REALM}, error="insufficient_scope", scope="tasks:read tasks:write"`;
for (const [path, authorization, status, challenge, reason] of [
  ["/any", undefined, 401, REALM, "BEARER_MISSING"],
  ["/any", "Basic dXNlcjpwYXNz", 401, REALM, "BEARER_MISSING"],
  ["/any", "Bearer junk", 401, `${REALM}, error="invalid_token"`, "BEARER_REJECTED"],
  ["/of/w2", bearer(TOKEN), 401, `${REALM}, error="invalid_token"`, "BEARER_REJECTED"],
  ["/write", bearer(TOKEN), 403, SCOPES, "TOKEN_SCOPE"],
  ["/box", bearer(TOKEN), 403, `${REALM}, error="insufficient_scope"`, "TOKEN_KIND"],
] as const) {
  test(`the others are told why: ${path} ${reason} ${status}`, async () => {
    const answer = await get(path, authorization);
    assert.deepEqual([answer.status, answer.headers.get("www-authenticate")], [status, challenge]);
    const { error } = (await answer.json()) as { error: Record<string, string> };
    assert.equal(error["code"], status === 401 ? "UNAUTHENTICATED" : "PERMISSION_DENIED");
    assert.equal(error["reason"], `ERROR_REASON_${reason}`);
    assert.equal(error["recovery"], status === 401 ? "REGISTER" : "FIX_REQUEST");
    assert.match(error["message"] ?? "", /^[a-z].*[^.]$/);
    for (const name of ["reason", "recovery"]) {
      assert.equal(answer.headers.get(`agentworkspace-${name}`), error[name]);
    }
    assert.match(answer.headers.get("agentworkspace-correlation-id") ?? "", /^[0-9a-f-]{36}$/);
  });
}

test("when nobody can tell, it is 503, when to try again, and no word on the token", async () => {
  registry.isRefusing = registry.isSilent = true;
  registry.hangUp();
  try {
    const answer = await get("/any", bearer(newToken()));
    assert.deepEqual([answer.status, answer.headers.get("retry-after")], [503, "1"]);
    assert.equal(answer.headers.get("www-authenticate"), REALM);
    assert.equal(answer.headers.get("agentworkspace-recovery"), "RETRY");
  } finally {
    registry.isRefusing = registry.isSilent = false;
    await until("it hears again", () => verifier.hears);
  }
});

test("in Fastify's shape: nothing for who may pass, a sent reply for the others", async () => {
  const sent: unknown[] = [];
  const reply = {
    code: (status: number) => (sent.push(status), reply),
    headers: (headers: Record<string, string>) => (sent.push(headers["www-authenticate"]), reply),
    send: (body: { error: { reason: string } }) => (sent.push(body.error.reason), reply),
  };
  const hook = fastifyBearer(verifier, { scopes: ["tasks:read"] });
  const welcome = { headers: { authorization: bearer(TOKEN) } };
  assert.equal(await hook(welcome, reply), undefined);
  assert.equal(principalOf(welcome).workspaceId, "w1");
  assert.equal(await hook({ headers: {} }, reply), reply);
  assert.deepEqual(sent, [401, REALM, "ERROR_REASON_BEARER_MISSING"]);
});
