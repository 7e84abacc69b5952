/** What a control plane and an operator do with one workspace, at a real registry. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import {
  type BeginIncarnationRequestSchema,
  RegistrationState,
  RevokeReason,
  type Token,
  TokenKind as WireKind,
  TokenService,
  WorkspaceRegistryService,
} from "../src/gen/registry-v1.js";
import { type Channel, type ClientOf, type Launch, Secret } from "../src/index.js";

const PATIENCE_MS = 60_000;

export class Workspace {
  readonly id = randomUUID();
  readonly tokens: ClientOf<typeof TokenService>;
  readonly #address: string;
  readonly #workspaces: ClientOf<typeof WorkspaceRegistryService>;

  constructor(address: string, channel: Channel) {
    this.#address = address;
    this.tokens = channel.client(TokenService);
    this.#workspaces = channel.client(WorkspaceRegistryService);
  }

  async admit(): Promise<void> {
    await this.#workspaces.admitWorkspace({ workspaceId: this.id, tenantId: "acme", ticketRequired: true });
  }

  async begin(more: MessageInitShape<typeof BeginIncarnationRequestSchema> = {}): Promise<Launch> {
    const begun = await this.#workspaces.beginIncarnation({ workspaceId: this.id, ...more });
    return {
      workspaceId: this.id,
      address: this.#address,
      ticket: new Secret(begun.bootstrapTicket),
      incarnation: Number(begun.incarnation),
    };
  }

  async revokeToken(reason: keyof typeof RevokeReason): Promise<bigint> {
    const [live] = await this.live();
    const request = { workspaceId: this.id, tokenId: live?.tokenId ?? "", reason: RevokeReason[reason] };
    return (await this.tokens.revokeToken(request)).revision;
  }

  async revokeAll(reason: keyof typeof RevokeReason): Promise<void> {
    await this.tokens.revokeWorkspaceTokens({ workspaceId: this.id, reason: RevokeReason[reason] });
  }

  async retire(): Promise<void> {
    await this.#workspaces.retireWorkspace({ workspaceId: this.id });
  }

  /** The live instance tokens. */
  async live(): Promise<Token[]> {
    const { tokens } = await this.tokens.listTokens({ workspaceId: this.id });
    return tokens.filter((each) => each.kind === WireKind.INSTANCE);
  }

  /** The id of this token; undefined when it is not live. */
  async tokenId(token: Secret | undefined): Promise<string | undefined> {
    const { result } = await this.tokens.validateToken({
      token: token?.reveal() ?? "",
      audience: { case: "workspaceId", value: this.id },
    });
    return result.case === "principal" ? result.value.tokenId : undefined;
  }

  /** When it was last heard of; 0: never, or it is not online. */
  async heardAt(): Promise<number> {
    const { registration } = await this.#workspaces.getRegistration({ workspaceId: this.id });
    const time = registration?.lastHeartbeatTime;
    return registration?.state === RegistrationState.ONLINE && time !== undefined ? timestampMs(time) : 0;
  }

  /** How often a Register was refused. */
  async refusals(): Promise<number> {
    const { registration } = await this.#workspaces.getRegistration({ workspaceId: this.id });
    return Number(registration?.rejectedRegisters?.count ?? 0);
  }
}

/** Look again and again, until it holds. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const giveUp = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > giveUp) {
      throw new Error(`waited in vain: ${what}`);
    }
    await sleep(50);
  }
}
