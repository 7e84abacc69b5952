import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { AgentClient, FileMemory, Secret, launchFrom } from "../src/index.js";
import { tlsOf } from "../src/agent/launch.js";

const WORKSPACE = "3f0c6a52-6c39-4c3f-9a1d-6a7d4b9f5a10";
const SOUND = { WORKSPACE_ID: WORKSPACE, WORKSPACE_REGISTRY_ADDRESS: "r:1" };

test("the launch is read from the environment", () => {
  const launch = launchFrom({
    ...SOUND,
    WORKSPACE_ID: WORKSPACE.toUpperCase(),
    WORKSPACE_INCARNATION: "7",
    WORKSPACE_BOOTSTRAP_TICKET: "awt_x",
    WORKSPACE_STATE_FILE: "/var/lib/box.json",
  });
  assert.equal(launch.ticket?.reveal(), "awt_x");
  assert.deepEqual(
    { ...launch, ticket: undefined },
    { workspaceId: WORKSPACE, address: "r:1", incarnation: 7, stateFile: "/var/lib/box.json", ticket: undefined },
  );
  assert.equal(tlsOf(launch), undefined);
});

test("an api token counts without a ticket only", () => {
  const environ = { ...SOUND, WORKSPACE_API_TOKEN: "awa_x" };
  assert.equal(launchFrom(environ).apiToken?.reveal(), "awa_x");
  assert.equal(launchFrom({ ...environ, WORKSPACE_BOOTSTRAP_TICKET: "awt_x" }).apiToken, undefined);
});

test("a client takes the ticket out of its process's environment and says so, but never what it is", () => {
  const lines: string[] = [];
  Object.assign(process.env, SOUND, {
    WORKSPACE_BOOTSTRAP_TICKET: "awt_secret",
    WORKSPACE_API_TOKEN: "awa_secret",
  });
  const agent = AgentClient.fromEnvironment({}, { log: (line) => lines.push(line) });
  assert.equal(agent.launch.ticket?.reveal(), "awt_secret");
  assert.equal(process.env["WORKSPACE_BOOTSTRAP_TICKET"], undefined);
  assert.match(lines.join(), /took WORKSPACE_BOOTSTRAP_TICKET out of the environment of this process/);
  assert.equal(process.env["WORKSPACE_API_TOKEN"], undefined);
  assert.doesNotMatch(lines.join(), /secret/);
});

test("an environment that is handed in is left as it is", () => {
  const environ = { ...SOUND, WORKSPACE_BOOTSTRAP_TICKET: "awt_x" };
  AgentClient.fromEnvironment({}, { environ, log: () => assert.fail("nothing to say") });
  assert.equal(environ.WORKSPACE_BOOTSTRAP_TICKET, "awt_x");
});

for (const [name, value] of [
  ["WORKSPACE_ID", ""],
  ["WORKSPACE_ID", "not-a-uuid"],
  ["WORKSPACE_REGISTRY_ADDRESS", ""],
  ["WORKSPACE_INCARNATION", "-1"],
  ["WORKSPACE_INCARNATION", "one"],
] as const) {
  test(`a launch that makes no sense is refused by name: ${name}=${value}`, () => {
    assert.throws(() => launchFrom({ ...SOUND, [name]: value }), new RegExp(name));
  });
}

test("authorities in the environment mean TLS, as text and as a path", () => {
  const path = join(mkdtempSync(join(tmpdir(), "agentworkspace-node-")), "ca.pem");
  writeFileSync(path, "-----BEGIN CERTIFICATE-----\nfile\n");
  const [text, file] = ["-----BEGIN CERTIFICATE-----\n", path].map((registryCa) =>
    tlsOf({ workspaceId: WORKSPACE, address: "r:1", registryCa }),
  );
  assert.equal(text?.roots, "-----BEGIN CERTIFICATE-----\n");
  assert.match(String(file?.roots), /file/);
  assert.throws(() => tlsOf({ workspaceId: WORKSPACE, address: "r:1", registryCa: `${path}.missing` }));
});

test("the state file is private, whole, survives garbage, and is the one that the Python client keeps", async () => {
  const directory = join(mkdtempSync(join(tmpdir(), "agentworkspace-node-")), "state");
  const path = join(directory, "box.json");
  const memory = new FileMemory(path);
  assert.equal(await memory.load(), undefined);
  await memory.save({ held: new Secret("a"), candidate: new Secret("b"), requestId: "r", ticketSha256: "" });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(directory), ["box.json"]);
  const found = await memory.load();
  assert.deepEqual([found?.held?.reveal(), found?.candidate?.reveal(), found?.requestId], ["a", "b", "r"]);
  writeFileSync(path, '{"version": 1, "held": "p", "candidate": "", "request_id": "", "ticket_sha256": "t"}');
  assert.equal((await memory.load())?.held?.reveal(), "p");
  for (const garbage of ["", "{}", "[1]", "null", '{"version": 1, "held": 5}', Buffer.from([255, 254])]) {
    writeFileSync(path, garbage);
    assert.equal(await memory.load(), undefined);
  }
});
