/** Everything that needs the real pair, which is started once. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { RegistrationService, TokenService } from "../src/gen/registry-v1.js";
import { WorkspaceService } from "../src/gen/provision-v1.js";
import { AgentClient, Channel, Code, ProcessMemory, Rejected, RpcFailure, TokenKind, Verifier } from "../src/index.js";
import { playAll } from "./box-scenarios.js";
import { Workspace, until } from "./control-plane.js";
import { runExamples } from "./examples.js";
import { Pair } from "./pair.js";

let pair: Pair;
let channel: Channel;

before(async () => {
  pair = await Pair.start();
  channel = pair.channel();
});

after(async () => {
  channel?.close();
  await pair?.stop();
});

describe("a box, as the table says", () => playAll(() => pair, () => channel));

describe("the examples", () => runExamples(() => pair));

describe("what the services answer", () => {
  test("a malformed request names every violation, and says FIX_REQUEST", async () => {
    const call = channel.client(RegistrationService).register({ workspaceId: "x", tokenSha256: "y" });
    const failure = await refused(call);
    assert.deepEqual([failure.code, failure.reason], [Code.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST"]);
    assert.deepEqual([failure.domain, failure.recovery], ["agentworkspace.registry", "FIX_REQUEST"]);
    assert.deepEqual(failure.violations.map((each) => each.field).sort(), ["token_sha256", "workspace_id"]);
    assert.notEqual(failure.correlationId, "");
  });

  test("a refusal says in its metadata what its message says", async () => {
    const failure = await refused(channel.client(TokenService).listTokens({ workspaceId: randomUUID() }));
    assert.deepEqual([failure.code, failure.reason], [Code.NOT_FOUND, "ERROR_REASON_WORKSPACE_UNKNOWN"]);
    assert.equal("recovery" in failure.metadata, false);
  });

  test("a launcher creates a workspace, and the registry knows it", async () => {
    using launcher = pair.channel(pair.provision);
    const workspaces = launcher.client(WorkspaceService);
    const { workspace } = await workspaces.createWorkspace({
      tenantId: "acme",
      workspace: { name: "node", runtime: "claude-code", model: "sonnet" },
      secrets: { CLAUDE_CODE_OAUTH_TOKEN: "test-value-of-a-secret" },
    });
    assert.ok(workspace);
    const provisioned = await workspaces.provisionWorkspace({ workspaceId: workspace.id, reason: 1 });
    const agent = AgentClient.fromEnvironment(
      { runtime: "claude-code" },
      { environ: { ...provisioned.env }, memory: new ProcessMemory(), log: () => undefined },
    ).start();
    try {
      const admission = await agent.admitted();
      assert.deepEqual([admission.outcome, admission.incarnation], ["BOOTSTRAPPED", 1]);
    } finally {
      await agent.close();
    }
  });

  test("a box that leaves for good is gone, and its client closed", async () => {
    const workspace = new Workspace(pair.registry.address, channel);
    await workspace.admit();
    const agent = new AgentClient(await workspace.begin(), {}, { log: () => undefined }).start();
    await agent.admitted();
    await agent.updateCard({ agentCard: { skills: ["review"] }, url: "" });
    await agent.deregister();
    await assert.rejects(agent.finished(), { name: "Closed" });
    assert.deepEqual(await workspace.live(), []);
  });
});

describe("a verifier at the registry", () => {
  test("drops a revoked token, and believes nothing while the registry is paused", async () => {
    const [kept, lost] = [await workspaceWithAToken(), await workspaceWithAToken()];
    using own = pair.channel();
    const verifier = new Verifier(own, { lookupSeconds: 1, log: () => undefined }).start();
    try {
      await until("it hears the feed", () => verifier.hears);
      for (const { token, workspace } of [kept, lost]) {
        assert.equal((await verifier.check(token)).workspaceId, workspace.id);
        assert.equal(verifier.known(token)?.kind, TokenKind.INSTANCE);
      }
      const revision = await lost.workspace.revokeToken("OPERATOR");
      await assert.rejects(verifier.check(lost.token, {}, { minRevision: revision }), Rejected);
      await until("it heard of the revocation", () => verifier.revision >= revision);
      assert.equal(verifier.known(lost.token), undefined);
      assert.ok(verifier.known(kept.token));
      pair.registry.signal("SIGSTOP");
      try {
        await until("three keep-alives are missing", () => !verifier.hears);
        assert.equal(verifier.known(kept.token), undefined);
        const failure = await refused(verifier.check(kept.token));
        assert.equal(failure.code, Code.UNAVAILABLE);
      } finally {
        pair.registry.signal("SIGCONT");
      }
      await until("it hears the feed again", () => verifier.hears);
      assert.equal((await verifier.check(kept.token)).workspaceId, kept.workspace.id);
    } finally {
      await verifier.close();
    }
  });

  test("a token of another kind than asked for is refused as such, asked or known", async () => {
    const { token } = await workspaceWithAToken();
    const verifier = new Verifier(channel, { log: () => undefined }).start();
    try {
      await until("it hears the feed", () => verifier.hears);
      for (const kind of [TokenKind.PROXY, TokenKind.API]) {
        await assert.rejects(verifier.check(token, { kind }), { reason: "TOKEN_KIND" });
      }
      await verifier.check(token, { kind: TokenKind.INSTANCE });
      for (const kind of [TokenKind.PROXY, TokenKind.API]) {
        await assert.rejects(verifier.check(token, { kind }), { reason: "TOKEN_KIND" });
      }
    } finally {
      await verifier.close();
    }
  });
});

async function workspaceWithAToken() {
  const workspace = new Workspace(pair.registry.address, channel);
  await workspace.admit();
  const agent = new AgentClient(await workspace.begin(), {}, { log: () => undefined }).start();
  await agent.admitted();
  const token = agent.bearer();
  assert.ok(token);
  await agent.close();
  return { workspace, token };
}

async function refused(call: Promise<unknown>): Promise<RpcFailure> {
  const failure = await call.then(() => undefined, (error: unknown) => error);
  assert.ok(failure instanceof RpcFailure, String(failure));
  return failure;
}
