/** Whom a workspace token speaks for, and what a method asks of it. */
import { TokenKind } from "../core/tokens.js";
import { type Principal as WirePrincipal, TokenKind as WireKind } from "../gen/agentworkspace/registry/v1/token_pb.js";

/** Whom a live token speaks for. */
export interface Principal {
  readonly workspaceId: string;
  readonly tenantId: string;
  readonly tokenId: string;
  readonly kind: TokenKind;
  readonly scopes: ReadonlySet<string>;
  readonly incarnation: number;
  /** Milliseconds since the epoch; undefined: never by itself. */
  readonly expiresAt: number | undefined;
  /** False for a box that was let in without evidence, because it knew the workspace's id. */
  readonly evidenceBacked: boolean;
}

/**
 * Why a token is not accepted, as the registry words it. TOKEN_INVALID is one reason for all: unknown, malformed,
 * revoked, expired, another workspace's, or of a workspace that was removed.
 */
export type Rejection = "TOKEN_INVALID" | "TOKEN_KIND" | "TOKEN_SCOPE";

/** The registry, or what is known from it, does not accept the token. */
export class Rejected extends Error {
  override readonly name = "Rejected";
  readonly reason: Rejection;

  constructor(reason: Rejection) {
    super(reason);
    this.reason = reason;
  }
}

/** What a token must be, besides live. */
export interface Requirement {
  /** Undefined takes an instance or an api token; a proxy token is accepted where it is asked for, and nowhere else. */
  readonly kind?: TokenKind;
  readonly scopes?: Iterable<string>;
}

export const LIVE: Requirement = {};

const KINDS: Readonly<Partial<Record<WireKind, TokenKind>>> = {
  [WireKind.INSTANCE]: TokenKind.INSTANCE,
  [WireKind.API]: TokenKind.API,
  [WireKind.PROXY]: TokenKind.PROXY,
};

/** The principal, if it is what is asked for. Throws Rejected otherwise, in the registry's order. */
export function required(principal: Principal, requirement: Requirement, workspaceId: string | undefined): Principal {
  if (workspaceId !== undefined && principal.workspaceId !== workspaceId) {
    throw new Rejected("TOKEN_INVALID");
  }
  const kind = requirement.kind;
  if (kind === undefined ? principal.kind === TokenKind.PROXY : principal.kind !== kind) {
    throw new Rejected("TOKEN_KIND");
  }
  for (const scope of requirement.scopes ?? []) {
    if (!principal.scopes.has(scope)) {
      throw new Rejected("TOKEN_SCOPE");
    }
  }
  return principal;
}

/** Undefined for a kind that this version does not know: it cannot say what it may be used for. */
export function principalOf(message: WirePrincipal): Principal | undefined {
  const kind = KINDS[message.kind];
  if (kind === undefined) {
    return undefined;
  }
  const expires = message.expireTime;
  return {
    workspaceId: message.workspaceId,
    tenantId: message.tenantId,
    tokenId: message.tokenId,
    kind,
    scopes: new Set(message.scopes),
    incarnation: Number(message.incarnation),
    expiresAt: expires === undefined ? undefined : Number(expires.seconds) * 1000 + expires.nanos / 1e6,
    evidenceBacked: message.evidenceBacked,
  };
}
