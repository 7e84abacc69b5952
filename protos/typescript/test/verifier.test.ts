/** The verifier: what it remembers, when it forgets, and when it refuses to guess. As in Python's tests. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { TokenKind as WireKind } from "../src/gen/registry-v1.js";
import { Code, Secret, TokenKind, Verifier, type VerifierOptions, newToken } from "../src/index.js";
import { until } from "./control-plane.js";
import { TokenRegistry } from "./token-registry.js";

const TOKEN = newToken(TokenKind.API);
const OTHER = newToken(TokenKind.API);
const INVALID = { name: "Rejected", reason: "TOKEN_INVALID" };

/** Milliseconds that pass when told to. */
class Clock {
  ms = 1_000_000;
  readonly read = () => this.ms;
}

async function verifying(
  context: TestContext,
  options: VerifierOptions = {},
  prepare: (registry: TokenRegistry) => void = (registry) => registry.admit(TOKEN),
): Promise<{ registry: TokenRegistry; verifier: Verifier }> {
  const registry = new TokenRegistry();
  prepare(registry);
  const channel = await registry.start();
  const verifier = new Verifier(channel, { log: () => undefined, ...options }).start();
  context.after(async () => {
    registry.release();
    await verifier.close();
    channel.close();
    registry.stop();
  });
  if (!registry.isSilent) {
    await until("it hears", () => verifier.hears);
  }
  return { registry, verifier };
}

test("what is known is not asked again", async (context) => {
  const { registry, verifier } = await verifying(context, {}, (each) =>
    each.admit(TOKEN, "w1", { scopes: ["tasks:read"], incarnation: 2n, evidenceBacked: true }),
  );
  const first = await verifier.check(TOKEN);
  for (let times = 0; times < 50; times++) {
    assert.equal(await verifier.check(TOKEN.reveal()), first);
  }
  assert.deepEqual(registry.calls, [1]);
  assert.deepEqual(first, {
    workspaceId: "w1",
    tenantId: "acme",
    tokenId: "id-0",
    kind: TokenKind.API,
    scopes: new Set(["tasks:read"]),
    incarnation: 2,
    expiresAt: undefined,
    evidenceBacked: true,
  });
});

test("a refusal is never remembered", async (context) => {
  const { registry, verifier } = await verifying(context, {}, () => undefined);
  await assert.rejects(verifier.check(TOKEN), INVALID);
  registry.admit(TOKEN);
  assert.equal((await verifier.check(TOKEN)).tenantId, "acme");
});

for (const [whose, revoke] of [
  ["token", (registry: TokenRegistry) => registry.revoke(TOKEN)],
  ["workspace", (registry: TokenRegistry) => registry.revokeWorkspace("w1")],
] as const) {
  test(`what the feed revokes is forgotten at once, and nothing else: a ${whose}`, async (context) => {
    const { registry, verifier } = await verifying(context);
    registry.admit(OTHER, "w2");
    await verifier.check(TOKEN);
    await verifier.check(OTHER);
    revoke(registry);
    await until("it heard", () => verifier.revision === registry.revision);
    await assert.rejects(verifier.check(TOKEN), INVALID);
    assert.ok(verifier.known(OTHER));
  });

  test(`an answer that a revocation overtook is not believed: of a ${whose}`, async (context) => {
    const { registry, verifier } = await verifying(context);
    const decided = registry.hold();
    const asking = assert.rejects(verifier.check(TOKEN), INVALID);
    await decided;
    revoke(registry);
    await until("it heard", () => verifier.revision === registry.revision);
    registry.release();
    await asking;
    assert.equal(verifier.size, 0);
  });
}

test("everything is forgotten on a reset", async (context) => {
  const { registry, verifier } = await verifying(context);
  await verifier.check(TOKEN);
  registry.tell({ reset: true });
  await until("it forgot", () => verifier.size === 0);
  await verifier.check(TOKEN);
  assert.deepEqual(registry.calls, [1, 1]);
});

test("a feed that is resumed in time keeps what is known, less what was revoked meanwhile", async (context) => {
  const { registry, verifier } = await verifying(context);
  registry.admit(OTHER, "w2");
  await verifier.check(TOKEN);
  await verifier.check(OTHER);
  registry.hangUp();
  registry.revoke(TOKEN);
  await until("it resumed", () => registry.resumedAfter.length === 2);
  await until("it caught up", () => verifier.revision === registry.revision);
  assert.equal(registry.resumedAfter[1], 7n);
  assert.equal(verifier.known(TOKEN), undefined);
  assert.ok(verifier.known(OTHER));
  assert.equal(registry.calls.length, 2);
});

test("a feed that is resumed too late starts from nothing", async (context) => {
  const clock = new Clock();
  const { registry, verifier } = await verifying(context, { monotonic: clock.read });
  await verifier.check(TOKEN);
  await registry.fallSilent(verifier);
  registry.hangUp();
  clock.ms += 3000;
  registry.revoke(TOKEN, { tell: false });
  registry.isSilent = false;
  await until("it hears", () => verifier.hears);
  assert.equal(registry.resumedAfter.at(-1), 0n);
  assert.equal(verifier.size, 0);
});

test("a feed without a revision yet cannot be resumed", async (context) => {
  const { registry, verifier } = await verifying(context, {}, (each) => {
    each.revision = 0n;
    each.admit(TOKEN);
  });
  await verifier.check(TOKEN);
  registry.hangUp();
  registry.revoke(TOKEN, { tell: false });
  await until("it hears again", () => verifier.revision === 1n);
  assert.deepEqual(registry.resumedAfter, [0n, 0n]);
  await assert.rejects(verifier.check(TOKEN), INVALID);
});

test("while what was missed is told again, the feed does not count as heard", async (context) => {
  const clock = new Clock();
  const { registry, verifier } = await verifying(context, { monotonic: clock.read });
  registry.admit(OTHER, "w2");
  await verifier.check(OTHER);
  await registry.fallSilent(verifier);
  registry.hangUp();
  clock.ms += 2000;
  registry.revoke(TOKEN);
  await until("it hears of what it missed", () => verifier.revision === registry.revision);
  assert.ok(verifier.known(OTHER));
  clock.ms += 1000;
  assert.equal(verifier.known(OTHER), undefined, "three seconds after the last that was surely all");
});

test("an answer from before a reset is not remembered", async (context) => {
  const { registry, verifier } = await verifying(context);
  const decided = registry.hold();
  const asking = verifier.check(TOKEN);
  await decided;
  registry.tell({ reset: true });
  registry.revision += 1n;
  await until("it heard", () => verifier.revision === registry.revision);
  registry.release();
  assert.equal((await asking).workspaceId, "w1");
  assert.equal(verifier.size, 0);
});

test("an answer from before the feed began is used, but not remembered", async (context) => {
  const { registry, verifier } = await verifying(context);
  await registry.fallSilent(verifier);
  registry.revision = 3n; // a replica that lags behind
  assert.equal((await verifier.check(TOKEN)).workspaceId, "w1");
  assert.equal(verifier.size, 0);
});

test("while the feed is silent the registry is asked every time", async (context) => {
  const clock = new Clock();
  const { registry, verifier } = await verifying(context, { monotonic: clock.read });
  await verifier.check(TOKEN);
  await registry.fallSilent(verifier);
  clock.ms += 3000;
  assert.equal(verifier.hears, false);
  registry.revoke(TOKEN, { tell: false });
  await assert.rejects(verifier.check(TOKEN), INVALID);
  registry.admit(TOKEN);
  for (let times = 0; times < 3; times++) {
    await verifier.check(TOKEN);
  }
  assert.equal(verifier.known(TOKEN), undefined);
  assert.deepEqual(registry.calls, [1, 1, 1, 1, 1]);
});

test("two silent keep-alives are not yet silence", async (context) => {
  const clock = new Clock();
  const { registry, verifier } = await verifying(context, { monotonic: clock.read });
  await verifier.check(TOKEN);
  await registry.fallSilent(verifier);
  clock.ms += 2900;
  assert.ok(verifier.known(TOKEN));
});

test("silent and unreachable is UNAVAILABLE, and no guess", async (context) => {
  const clock = new Clock();
  const { registry, verifier } = await verifying(context, { monotonic: clock.read });
  await verifier.check(TOKEN);
  await registry.fallSilent(verifier);
  registry.isRefusing = true;
  clock.ms += 3000;
  await assert.rejects(verifier.check(TOKEN), { name: "RpcFailure", code: Code.UNAVAILABLE });
});

test("a feed that never speaks is left for another connection", async (context) => {
  const { registry, verifier } = await verifying(context, { keepAliveSeconds: 0.1 }, (each) => {
    each.admit(TOKEN);
    each.isSilent = true;
  });
  await verifier.check(TOKEN);
  assert.equal(verifier.known(TOKEN), undefined);
  await until("it connected anew", () => registry.resumedAfter.length > 1);
  registry.isSilent = false;
  await until("it hears", () => verifier.hears);
  await verifier.check(TOKEN);
  assert.ok(verifier.known(TOKEN));
});

test("a question posed in silence is not shared once it is on its way", async (context) => {
  const { registry, verifier } = await verifying(context, {}, (each) => {
    each.admit(TOKEN);
    each.isSilent = true;
  });
  const decided = registry.hold();
  const early = verifier.check(TOKEN);
  await decided;
  registry.revoke(TOKEN, { tell: false });
  const late = assert.rejects(verifier.check(TOKEN), INVALID);
  await until("both are asked", () => registry.calls.length === 2);
  registry.release();
  assert.equal((await early).workspaceId, "w1");
  await late;
});

test("an expired token is asked for again", async (context) => {
  const clock = new Clock();
  const { registry, verifier } = await verifying(context, { now: clock.read }, (each) =>
    each.admit(TOKEN, "w1", { expireTime: { seconds: 1060n } }),
  );
  assert.equal((await verifier.check(TOKEN)).expiresAt, 1_060_000);
  clock.ms = 1_059_999;
  assert.ok(verifier.known(TOKEN));
  clock.ms = 1_060_000;
  assert.equal(verifier.known(TOKEN), undefined);
  registry.revoke(TOKEN, { tell: false });
  await assert.rejects(verifier.check(TOKEN), INVALID);
});

test("nothing is believed for longer than its greatest age", async (context) => {
  const clock = new Clock();
  const { verifier } = await verifying(context, { now: clock.read, maxAgeSeconds: 300 });
  await verifier.check(TOKEN);
  clock.ms += 300_000;
  assert.equal(verifier.known(TOKEN), undefined);
});

test("a receipt that the feed has not shown yet asks the registry", async (context) => {
  const { registry, verifier } = await verifying(context);
  registry.admit(OTHER);
  await verifier.check(TOKEN);
  await verifier.check(OTHER);
  await registry.fallSilent(verifier);
  const minRevision = registry.revoke(TOKEN, { tell: false });
  await assert.rejects(verifier.check(TOKEN, {}, { minRevision }), INVALID);
  await verifier.check(OTHER, {}, { minRevision });
  const asked = registry.calls.length;
  await verifier.check(OTHER, {}, { minRevision });
  assert.equal(registry.calls.length, asked, "the answer itself was as new as the receipt");
  await assert.rejects(verifier.check(OTHER, {}, { minRevision: minRevision + 1n }), /revision/);
});

test("many who ask for one token pose one question, and many tokens share calls of at most a thousand", async (context) => {
  const { registry, verifier } = await verifying(context);
  await Promise.all(Array.from({ length: 100 }, () => verifier.check(TOKEN)));
  assert.deepEqual(registry.calls, [1]);
  const tokens = Array.from({ length: 2500 }, () => newToken(TokenKind.API));
  tokens.forEach((token) => registry.admit(token));
  await Promise.all(tokens.map((token) => verifier.check(token)));
  assert.deepEqual(registry.calls.slice(1).sort((a, b) => a - b), [500, 1000, 1000]);
});

test("workspace, kind and scopes are checked on what is asked and on what is known", async (context) => {
  const { registry, verifier } = await verifying(context, {}, (each) =>
    each.admit(TOKEN, "w1", { scopes: ["a", "b"], kind: WireKind.INSTANCE }),
  );
  for (const _ of ["asked", "known"]) {
    await verifier.check(TOKEN, { kind: TokenKind.INSTANCE }, { workspaceId: "w1" });
    await verifier.check(TOKEN, { scopes: ["a"] });
    await assert.rejects(verifier.check(TOKEN, { kind: TokenKind.API }, { workspaceId: "w2" }), INVALID);
    await assert.rejects(verifier.check(TOKEN, { kind: TokenKind.API }), { reason: "TOKEN_KIND" });
    await assert.rejects(verifier.check(TOKEN, { scopes: ["a", "c"] }), { reason: "TOKEN_SCOPE" });
  }
  assert.deepEqual(registry.calls, [1]);
});

test("a proxy token is accepted where one is asked for, and nowhere else", async (context) => {
  const { verifier } = await verifying(context, {}, (each) => each.admit(TOKEN, "w1", { kind: WireKind.PROXY }));
  for (const _ of ["asked", "known"]) {
    assert.equal((await verifier.check(TOKEN, { kind: TokenKind.PROXY })).kind, TokenKind.PROXY);
    await assert.rejects(verifier.check(TOKEN), { reason: "TOKEN_KIND" });
  }
});

test("a kind of a later version is not accepted", async (context) => {
  const { verifier } = await verifying(context, {}, (each) => each.admit(TOKEN, "w1", { kind: 99 as WireKind }));
  await assert.rejects(verifier.check(TOKEN), INVALID);
});

test("junk is refused without a call", async (context) => {
  const { registry, verifier } = await verifying(context);
  for (const junk of ["", "awa_short", `${TOKEN.reveal().slice(0, -1)}!`, "é", "x".repeat(5000)]) {
    await assert.rejects(verifier.check(junk), INVALID);
  }
  assert.deepEqual(registry.calls, []);
});

test("a token of another format is asked for", async (context) => {
  const brought = new Secret("a token that its owner made");
  const { verifier } = await verifying(context, {}, (each) => each.admit(brought));
  assert.equal((await verifier.check(brought)).workspaceId, "w1");
});

test("the number of known tokens is bounded", async (context) => {
  const { registry, verifier } = await verifying(context, { maxEntries: 8 });
  const tokens = Array.from({ length: 20 }, () => newToken(TokenKind.API));
  for (const token of tokens) {
    registry.admit(token);
    await verifier.check(token);
  }
  assert.equal(verifier.size, 8);
  assert.ok(verifier.known(tokens.at(-1) as Secret));
});

test("the verifier starts without the registry, and finds it later", async (context) => {
  const { registry, verifier } = await verifying(context, {}, (each) => {
    each.admit(TOKEN);
    each.isRefusing = each.isSilent = true;
  });
  await assert.rejects(verifier.check(TOKEN), { code: Code.UNAVAILABLE });
  registry.isRefusing = registry.isSilent = false;
  await until("it hears", () => verifier.hears);
  await verifier.check(TOKEN);
});
