import { spawn } from "node:child_process";

import { Channel } from "@agentworkspace/client";
import { ProvisionOutcome, ProvisionReason, WorkspaceService } from "@agentworkspace/client/provision/v1";

// A caller with the role `launcher` in the provision service's credentials file; see deploy/README.md.
const channel = new Channel(process.env["PROVISION_ADDRESS"] ?? "127.0.0.1:7102", {
  bearer: process.env["PROVISION_TOKEN"] ?? "",
});
const workspaces = channel.client(WorkspaceService);

const { workspace } = await workspaces.createWorkspace({
  tenantId: "acme",
  workspace: { name: "first", runtime: "claude-code", model: "sonnet" },
  secrets: { CLAUDE_CODE_OAUTH_TOKEN: process.env["CLAUDE_CODE_OAUTH_TOKEN"] ?? "" },
});
const workspaceId = workspace?.id ?? "";
const { env, provision } = await workspaces.provisionWorkspace({ workspaceId, reason: ProvisionReason.CREATE });

// The box gets the environment that was answered, and nothing of ours.
const [program = "", ...rest] = process.argv.slice(2);
const box = spawn(program, rest, { env: { PATH: process.env["PATH"], ...env }, stdio: "inherit" });
await workspaces.completeProvision({ provisionId: provision?.id ?? "", outcome: ProvisionOutcome.SUCCEEDED });
console.log(`launched workspace ${workspaceId}`);
box.on("exit", (code) => {
  channel.close();
  process.exitCode = code ?? 1;
});
