/** The interceptor of a gRPC server: who gets through to a method, and how the others are answered. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server, ServerCredentials, type ServerUnaryCall, type ServerWritableStream, type sendUnaryData } from "@grpc/grpc-js";

import {
  type ListTokensRequest,
  TokenKind as WireKind,
  TokenService,
  type WatchRevocationsResponse,
} from "../src/gen/registry-v1.js";
import {
  type CallOptions,
  Channel,
  type ClientOf,
  Code,
  RpcFailure,
  TokenKind,
  Verifier,
  bearerInterceptor,
  newToken,
  principalOf,
} from "../src/index.js";
import { until } from "./control-plane.js";
import { TokenRegistry, definitionOf } from "./token-registry.js";

const TOKEN = newToken(TokenKind.API);
const WRITER = newToken(TokenKind.INSTANCE);
const SERVICE = `/${TokenService.typeName}`;
const registry = new TokenRegistry();
let verifier: Verifier;
let toRegistry: Channel;
let server: Server;
let channel: Channel;
// Any service will do: this one's messages are at hand. Its methods answer with whom they were called by.
let methods: ClientOf<typeof TokenService>;
let ran = 0;

before(async () => {
  registry.admit(TOKEN, "w1");
  registry.admit(WRITER, "w2", { scopes: ["tasks:write"], kind: WireKind.INSTANCE });
  toRegistry = await registry.start();
  verifier = new Verifier(toRegistry, { log: () => undefined }).start();
  const interceptor = bearerInterceptor(
    verifier,
    {
      [`${SERVICE}/ListTokens`]: { workspaceOf: (request: ListTokensRequest) => request.workspaceId },
      [`${SERVICE}/MintToken`]: { scopes: ["tasks:write"] },
      [`${SERVICE}/RotateToken`]: { kind: TokenKind.INSTANCE },
      [`${SERVICE}/WatchRevocations`]: {},
      [`${SERVICE}/ValidateToken`]: "open",
    },
    { domain: "acme.tasks" },
  );
  server = new Server({ interceptors: [interceptor] });
  const who = (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    ran += 1;
    callback(null, { nextPageToken: principalOf(call).workspaceId });
  };
  server.addService(definitionOf(TokenService.methods.filter((each) => each.name !== "RevokeWorkspaceTokens")), {
    ListTokens: who,
    MintToken: who,
    RotateToken: who,
    RevokeToken: who,
    BatchValidateTokens: who,
    ValidateToken: (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
      assert.throws(() => principalOf(call), /interceptor or middleware/);
      callback(null, {});
    },
    WatchRevocations: (call: ServerWritableStream<unknown, WatchRevocationsResponse>) => {
      const value = principalOf(call).workspaceId;
      call.write({ subject: { case: "workspaceId", value } } as WatchRevocationsResponse);
      call.end();
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  channel = new Channel(`127.0.0.1:${port}`);
  methods = channel.client(TokenService);
});

after(async () => {
  await verifier.close();
  toRegistry.close();
  registry.stop();
  channel.close();
  server.forceShutdown();
});

test("a method knows who calls it", async () => {
  assert.equal((await methods.listTokens({ workspaceId: "w1" }, { bearer: TOKEN })).nextPageToken, "w1");
  await methods.mintToken({}, { bearer: WRITER });
  await methods.rotateToken({}, { bearer: WRITER });
  await methods.validateToken({});
  const told = [];
  for await (const { subject } of methods.watchRevocations({}, { bearer: TOKEN })) {
    told.push(subject.value);
  }
  assert.deepEqual(told, ["w1"]);
});

const junk = newToken();
for (const [what, call, code, reason, recovery] of [
  ["no token", () => methods.listTokens({}), "UNAUTHENTICATED", "BEARER_MISSING", "REGISTER"],
  ["junk", () => methods.listTokens({}, { bearer: junk }), "UNAUTHENTICATED", "BEARER_REJECTED", "REGISTER"],
  ["another workspace", () => methods.listTokens({ workspaceId: "w2" }, { bearer: TOKEN }), "UNAUTHENTICATED", "BEARER_REJECTED", "REGISTER"],
  ["a scope", () => methods.mintToken({}, { bearer: TOKEN }), "PERMISSION_DENIED", "TOKEN_SCOPE", "FIX_REQUEST"],
  ["a kind", () => methods.rotateToken({}, { bearer: TOKEN }), "PERMISSION_DENIED", "TOKEN_KIND", "FIX_REQUEST"],
  ["not in the mapping", () => methods.revokeToken({}, { bearer: TOKEN }), "PERMISSION_DENIED", "METHOD_CLOSED", "FIX_REQUEST"],
  ["a stream", () => firstOf({}), "UNAUTHENTICATED", "BEARER_MISSING", "REGISTER"],
] as const) {
  test(`the others are told why, what to do, and never reach the method: ${what}`, async () => {
    const before = ran;
    const failure = await refused(call());
    assert.deepEqual([Code[failure.code], failure.reason], [code, `ERROR_REASON_${reason}`]);
    assert.deepEqual([failure.domain, failure.recovery], ["acme.tasks", recovery]);
    assert.notEqual(failure.correlationId, "");
    assert.equal(ran, before);
  });
}

test("the caller's correlation id comes back", async () => {
  const failure = await refused(methods.listTokens({}, { correlationId: "mine-1" }));
  assert.equal(failure.correlationId, "mine-1");
});

test("a method that exists nowhere stays unimplemented", async () => {
  assert.equal((await refused(methods.revokeWorkspaceTokens({}, { bearer: TOKEN }))).code, Code.UNIMPLEMENTED);
});

test("when nobody can tell, the call is UNAVAILABLE and may be tried again", async () => {
  registry.isRefusing = registry.isSilent = true;
  registry.hangUp();
  try {
    const failure = await refused(methods.listTokens({}, { bearer: newToken(), timeoutSeconds: 5 }));
    assert.deepEqual([failure.code, failure.recovery], [Code.UNAVAILABLE, "RETRY"]);
    assert.equal(failure.retryAfterSeconds, 1);
  } finally {
    registry.isRefusing = registry.isSilent = false;
    await until("it hears again", () => verifier.hears);
  }
});

async function firstOf(options: CallOptions): Promise<unknown> {
  for await (const message of methods.watchRevocations({}, options)) {
    return message;
  }
  return undefined;
}

async function refused(call: Promise<unknown>): Promise<RpcFailure> {
  const failure = await call.then(() => undefined, (error: unknown) => error);
  assert.ok(failure instanceof RpcFailure, String(failure));
  return failure;
}
