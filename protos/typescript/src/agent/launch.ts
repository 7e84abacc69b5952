/** What a box is told about itself at its launch, and what it tells the registry. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import type { JsonObject } from "@bufbuild/protobuf";

import { Secret } from "../core/secret.js";
import type { Tls } from "../rpc/channel.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PEM = "-----BEGIN";
export const TICKET = "WORKSPACE_BOOTSTRAP_TICKET";
export const API_TOKEN = "WORKSPACE_API_TOKEN";

export type Environment = Record<string, string | undefined>;

/** The launch of one box. `launchFrom` reads it from the environment that the launch made. */
export interface Launch {
  readonly workspaceId: string;
  /** `host:port`; `https://host:port` for TLS with the authorities that Node trusts. */
  readonly address: string;
  readonly ticket?: Secret;
  readonly incarnation?: number;
  /** PEM text of the registry's authorities, or, without a BEGIN line, the path of such a file. Either means TLS. */
  readonly registryCa?: string;
  /** Where a token that cannot be derived from the ticket is kept. */
  readonly stateFile?: string;
  /** Of an agent that nobody launches, and that therefore has no ticket; lets it in. */
  readonly apiToken?: Secret;
}

/** What a box says of itself when it registers. */
export interface Announcement {
  readonly url?: string;
  /** `push` or `poll`. */
  readonly deliveryMode?: string;
  readonly agentCard?: JsonObject;
  readonly runtime?: string;
  readonly runtimeVersion?: string;
}

/** How the box does; goes along with the next heartbeat. Never put a secret into it. */
export interface Report {
  readonly activeTasks?: number;
  readonly sampleError?: string;
  readonly degraded?: boolean;
}

/**
 * Reads WORKSPACE_ID, WORKSPACE_REGISTRY_ADDRESS and, where set, WORKSPACE_INCARNATION, WORKSPACE_BOOTSTRAP_TICKET,
 * WORKSPACE_REGISTRY_CA, WORKSPACE_STATE_FILE and WORKSPACE_API_TOKEN.
 *
 * Throws an Error that names the variable which is missing or malformed.
 */
export function launchFrom(environ: Environment): Launch {
  const text = (name: string): string => (environ[name] ?? "").trim();
  const ticket = text(TICKET);
  const workspaceId = text("WORKSPACE_ID").toLowerCase();
  const incarnation = text("WORKSPACE_INCARNATION");
  const registryCa = text("WORKSPACE_REGISTRY_CA");
  const apiToken = text(API_TOKEN);
  return checked({
    workspaceId,
    address: text("WORKSPACE_REGISTRY_ADDRESS"),
    ...(ticket === "" ? {} : { ticket: new Secret(ticket) }),
    ...(incarnation === "" ? {} : { incarnation: /^[0-9]+$/.test(incarnation) ? Number(incarnation) : -1 }),
    ...(registryCa === "" ? {} : { registryCa }),
    ...(apiToken === "" || ticket !== "" ? {} : { apiToken: new Secret(apiToken) }),
    stateFile: text("WORKSPACE_STATE_FILE") || defaultState(text("XDG_STATE_HOME"), workspaceId),
  });
}

/** The launch as it is. Throws an Error that names the variable which makes no sense. */
export function checked(launch: Launch): Launch {
  if (!UUID.test(launch.workspaceId)) {
    throw new Error(
      "WORKSPACE_ID must be a canonical lower-case UUID; it is in the environment that ProvisionWorkspace answered",
    );
  }
  if (launch.address === "") {
    throw new Error("WORKSPACE_REGISTRY_ADDRESS must be host:port");
  }
  if (launch.incarnation !== undefined && !(Number.isSafeInteger(launch.incarnation) && launch.incarnation >= 0)) {
    throw new Error("WORKSPACE_INCARNATION must be a number, 0 or more");
  }
  return launch;
}

/** Undefined: plain text, for loopback or behind something that encrypts. Throws when a named file cannot be read. */
export function tlsOf(launch: Launch): Tls | undefined {
  const ca = launch.registryCa;
  return ca === undefined ? undefined : { roots: ca.includes(PEM) ? ca : readFileSync(ca) };
}

function defaultState(stateHome: string, workspaceId: string): string {
  return join(stateHome || join(homedir(), ".local", "state"), "agentworkspace", `${workspaceId}.json`);
}
