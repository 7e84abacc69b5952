/** The examples of README.md, run as they stand there at a real pair. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { WorkspaceRegistryService } from "../src/gen/registry-v1.js";
import { until } from "./control-plane.js";
import { type Pair, ROOT, freePorts } from "./pair.js";

const BUILT = fileURLToPath(new URL("../examples/", import.meta.url));
const SOURCES = join(ROOT, "protos", "typescript");

class Program {
  readonly child: ChildProcess;
  printed = "";

  constructor(name: string, args: readonly string[], env: Record<string, string>) {
    const environment = { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", ...env };
    this.child = spawn(process.execPath, [join(BUILT, `${name}.js`), ...args], { env: environment });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (bytes: Buffer) => (this.printed += bytes.toString()));
    }
  }

  async prints(text: string): Promise<void> {
    await until(`it prints “${text}”; so far: ${this.printed}`, () => this.printed.includes(text));
  }
}

export function runExamples(pair: () => Pair): void {
  for (const name of ["agent", "service", "launcher"]) {
    test(`README.md shows examples/${name}.ts as it is`, () => {
      const readme = readFileSync(join(SOURCES, "README.md"), "utf8");
      const example = readFileSync(join(SOURCES, "examples", `${name}.ts`), "utf8");
      assert.ok(readme.includes(`\`\`\`ts\n${example}\`\`\``));
    });
  }

  test("the launcher starts the agent, which gets in, and stops when the workspace is retired", async () => {
    const launcher = new Program("launcher", [process.execPath, join(BUILT, "agent.js")], {
      PROVISION_ADDRESS: pair().provision.address,
      PROVISION_TOKEN: pair().admin.reveal(),
      CLAUDE_CODE_OAUTH_TOKEN: "test-value-of-a-secret",
    });
    const ended = once(launcher.child, "exit");
    try {
      await launcher.prints("in, as launch 1 of this workspace");
      await launcher.prints("launched workspace ");
      assert.match(launcher.printed, /took WORKSPACE_BOOTSTRAP_TICKET out of the environment/);
      const workspaceId = /launched workspace (\S+)/.exec(launcher.printed)?.[1] ?? "";
      using channel = pair().channel();
      await channel.client(WorkspaceRegistryService).retireWorkspace({ workspaceId });
      await launcher.prints("told to stop: retired");
      assert.deepEqual(await ended, [0, null]);
    } finally {
      launcher.child.kill();
    }
  });

  test("the service turns away who shows no token", async () => {
    const [port] = await freePorts(1);
    const service = new Program("service", [], {
      REGISTRY_ADDRESS: pair().registry.address,
      REGISTRY_TOKEN: pair().admin.reveal(),
      PORT: String(port),
    });
    try {
      await service.prints("serving");
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      assert.deepEqual([answer.status, answer.headers.get("www-authenticate")], [401, 'Bearer realm="agentworkspace"']);
    } finally {
      service.child.kill();
    }
  });
}
