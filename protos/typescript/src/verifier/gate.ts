/** What a gRPC method and an HTTP route do alike with a bearer: look at it, and say why it does not open. */
import { Code, type Recovery, RpcFailure } from "../rpc/failure.js";
import { type Principal, Rejected, type Requirement } from "./principals.js";
import { DOMAIN, type Verifier } from "./verifier.js";

const BEARER = /^bearer +(\S+)$/i;
const admitted = new WeakMap<object, Principal>();

/**
 * Whom the request or call being served speaks for: give what the handler was given. Throws an Error for one that no
 * interceptor or middleware of ours has let in.
 */
export function principalOf(carrier: object): Principal {
  const inside = "metadata" in carrier ? (carrier.metadata as object) : undefined;
  const principal = admitted.get(carrier) ?? (inside === undefined ? undefined : admitted.get(inside));
  if (principal === undefined) {
    throw new Error("no checked token came with this: is the interceptor or middleware in front of the handler?");
  }
  return principal;
}

export function admit(carrier: object, principal: Principal): void {
  admitted.set(carrier, principal);
}

/** Whom the `authorization` header speaks for. Rejects with RpcFailure: the answer to the caller. */
export async function openWith(
  header: string | undefined,
  verifier: Verifier,
  requirement: Requirement,
  workspaceId: string | undefined,
  domain: string = DOMAIN,
): Promise<Principal> {
  const bearer = BEARER.exec(header?.trim() ?? "")?.[1];
  if (bearer === undefined) {
    throw refusal("BEARER_MISSING", "send the header `authorization: Bearer <token>`", domain);
  }
  try {
    return await verifier.check(bearer, requirement, { workspaceId });
  } catch (error) {
    throw error instanceof Rejected ? rejection(error, domain) : error;
  }
}

/** What a rejected token is answered. */
export function rejection(rejected: Rejected, domain: string = DOMAIN): RpcFailure {
  switch (rejected.reason) {
    case "TOKEN_KIND":
      return refusal("TOKEN_KIND", "the token is of another kind than this asks for", domain);
    case "TOKEN_SCOPE":
      return refusal("TOKEN_SCOPE", "the token lacks a scope that this asks for", domain);
    default:
      return refusal("BEARER_REJECTED", "the presented token is not accepted here", domain);
  }
}

const CODES: Readonly<Record<string, [Code, Recovery]>> = {
  BEARER_MISSING: [Code.UNAUTHENTICATED, "REGISTER"],
  BEARER_REJECTED: [Code.UNAUTHENTICATED, "REGISTER"],
};

export function refusal(reason: string, message: string, domain: string = DOMAIN): RpcFailure {
  const [code, recovery] = CODES[reason] ?? [Code.PERMISSION_DENIED, "FIX_REQUEST"];
  return new RpcFailure(code, `ERROR_REASON_${reason}`, message, { domain, recovery });
}

