/** What a channel adds to a call, what it repeats, and what it never repeats. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";

import { admissionOf, nextActionOf } from "../src/agent/messages.js";
import {
  HeartbeatResponseSchema,
  type NextAction,
  type RegisterOutcome,
  RegisterResponseSchema,
  TokenService,
} from "../src/gen/registry-v1.js";
import { Channel, type ChannelOptions, type ClientOf, Code, type Recovery, RpcFailure, Secret } from "../src/index.js";
import { statusOf } from "../src/rpc/failure.js";
import { definitionOf } from "./token-registry.js";

type Seen = ServerUnaryCall<{ requestId: string }, unknown>;

/** A service that fails with `codes`, one after the other, and then succeeds. */
async function serving(
  context: TestContext,
  codes: (Code | RpcFailure)[],
  options: ChannelOptions = {},
  credentials = ServerCredentials.createInsecure(),
): Promise<{ seen: Seen[]; tokens: ClientOf<typeof TokenService>; channel: Channel; address: string }> {
  const seen: Seen[] = [];
  const server = new Server();
  const answer = (call: Seen, callback: sendUnaryData<unknown>) => {
    seen.push(call);
    const told = codes.shift();
    if (told instanceof RpcFailure) {
      callback(statusOf(told, "c"));
    } else {
      callback(told === undefined ? null : { code: told, details: "as told", metadata: new Metadata() }, {});
    }
  };
  const methods = TokenService.methods.filter((each) => ["MintToken", "ListTokens"].includes(each.name));
  server.addService(definitionOf(methods), { MintToken: answer, ListTokens: answer });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const address = `127.0.0.1:${port}`;
  const channel = new Channel(address, options);
  context.after(() => {
    channel.close();
    server.forceShutdown();
  });
  return { seen, tokens: channel.client(TokenService), channel, address };
}

test("a call that takes a request_id gets one, and keeps it while it is repeated", async (context) => {
  const { seen, tokens } = await serving(context, [Code.UNAVAILABLE, Code.UNAVAILABLE]);
  await tokens.mintToken({ workspaceId: "w" });
  const ids = seen.map((call) => call.request.requestId);
  assert.equal(ids.length, 3);
  assert.equal(new Set(ids).size, 1);
  assert.match(ids[0] ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
});

test("the caller's own request_id is left alone", async (context) => {
  const { seen, tokens } = await serving(context, []);
  await tokens.mintToken({ requestId: "mine" });
  assert.equal(seen[0]?.request.requestId, "mine");
});

test("a call without a request_id is never repeated", async (context) => {
  const { seen, tokens } = await serving(context, [Code.UNAVAILABLE]);
  await assert.rejects(tokens.listTokens({}), { code: Code.UNAVAILABLE });
  assert.equal(seen.length, 1);
});

test("what the server shed before a handler saw it is repeated too", async (context) => {
  const { seen, tokens } = await serving(context, [Code.CANCELLED]);
  await tokens.mintToken({});
  assert.equal(seen.length, 2);
});

test("nothing else is repeated, and nothing for ever", async (context) => {
  const { seen, tokens } = await serving(context, [Code.INTERNAL, ...Array(9).fill(Code.UNAVAILABLE)]);
  await assert.rejects(tokens.mintToken({}), { code: Code.INTERNAL });
  assert.equal(seen.length, 1);
  await assert.rejects(tokens.mintToken({}), { code: Code.UNAVAILABLE });
  assert.equal(seen.length, 5);
});

test("nothing is repeated past the deadline", async (context) => {
  const busy = new RpcFailure(Code.UNAVAILABLE, "", "come back in a minute", { retryAfterSeconds: 60 });
  const { seen, tokens } = await serving(context, Array(9).fill(busy));
  await assert.rejects(tokens.mintToken({}, { timeoutSeconds: 1.4 }), { retryAfterSeconds: 60 });
  assert.equal(seen.length, 1);
});

test("every call carries the bearer, asked anew each time, and a correlation id", async (context) => {
  let times = 0;
  const { seen, tokens } = await serving(context, [], { bearer: () => new Secret(`b${++times}`) });
  await tokens.listTokens({});
  await tokens.listTokens({}, { correlationId: "c" });
  await tokens.listTokens({}, { bearer: new Secret("own") });
  const sent = (key: string) => seen.map((call) => String(call.metadata.get(key)[0]));
  assert.deepEqual(sent("authorization"), ["Bearer b1", "Bearer b2", "Bearer own"]);
  assert.equal(sent("agentworkspace-correlation-id")[1], "c");
  assert.match(sent("agentworkspace-correlation-id")[0] ?? "", /^[0-9a-f-]{36}$/);
});

test("a call can be given up", async (context) => {
  const { tokens } = await serving(context, []);
  const given = new AbortController();
  given.abort();
  await assert.rejects(tokens.mintToken({}, { signal: given.signal }), { code: Code.CANCELLED });
});

test("whatever fails is an RpcFailure, also without a server, and then says RETRY", async () => {
  using channel = new Channel("127.0.0.1:1");
  const failure = await channel.client(TokenService).listTokens({}).catch((error: unknown) => error);
  assert.ok(failure instanceof RpcFailure);
  assert.deepEqual([failure.code, failure.reason, failure.recovery], [Code.UNAVAILABLE, "", "RETRY"]);
});

test("a recovery, an action and an outcome of a later version mean: try again, go on, and nothing", async (context) => {
  const later = new RpcFailure(Code.FAILED_PRECONDITION, "ERROR_REASON_LATER", "no", { recovery: "DANCE" as Recovery });
  const { tokens } = await serving(context, [later]);
  const told = { name: "RpcFailure", reason: "ERROR_REASON_LATER", recovery: "RETRY" };
  await assert.rejects(tokens.listTokens({}), told);
  const beat = create(HeartbeatResponseSchema, { nextAction: 99 as NextAction });
  assert.equal(nextActionOf(beat).action, "NONE");
  const response = create(RegisterResponseSchema, { outcome: 99 as RegisterOutcome, incarnation: 3n });
  assert.deepEqual([admissionOf(response).outcome, admissionOf(response).incarnation], ["", 3]);
});

test("TLS: the authorities that were given, and no others", async (context) => {
  const directory = mkdtempSync(join(tmpdir(), "agentworkspace-node-"));
  const [key, certificate] = ["key.pem", "certificate.pem"].map((name) => join(directory, name)) as [string, string];
  const arguments_ = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  arguments_.push("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost");
  arguments_.push("-addext", "subjectAltName=IP:127.0.0.1");
  if (spawnSync("openssl", arguments_).status !== 0) {
    context.skip("openssl is not here to make a certificate");
    return;
  }
  const roots = readFileSync(certificate, "utf8");
  const pair = { private_key: readFileSync(key), cert_chain: Buffer.from(roots) };
  const { tokens, address } = await serving(context, [], { tls: { roots } }, ServerCredentials.createSsl(null, [pair]));
  await tokens.listTokens({});
  for (const [target, options] of [[address, {}], [`https://${address}`, {}]] as const) {
    using channel = new Channel(target, options);
    await assert.rejects(channel.client(TokenService).listTokens({}), { code: Code.UNAVAILABLE });
  }
  using channel = new Channel(`https://${address}`, { tls: { roots } });
  await channel.client(TokenService).listTokens({});
});
