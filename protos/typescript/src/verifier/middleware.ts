/**
 * Bearers at HTTP services: one check in front of a route, in the shapes that Express and Fastify want.
 *
 *     app.get("/tasks", expressBearer(verifier, { scopes: ["tasks:read"] }), (request, response) => {
 *       response.json({ workspace: principalOf(request).workspaceId });
 *     });
 *
 *     fastify.get("/tasks", { preHandler: fastifyBearer(verifier) }, async (request) => principalOf(request).workspaceId);
 *
 * Refused: 401 with `WWW-Authenticate`, 403 for a token of the wrong kind or scope, 503 with `Retry-After` when nobody
 * can tell. The body says reason, message and recovery, as the trailing metadata of gRPC does.
 */
import type { IncomingHttpHeaders, ServerResponse } from "node:http";

import { Code, RpcFailure } from "../rpc/failure.js";
import { admit, openWith } from "./gate.js";
import type { Requirement } from "./principals.js";
import type { Verifier } from "./verifier.js";

interface Request {
  readonly headers: IncomingHttpHeaders;
}

interface Reply {
  code(status: number): Reply;
  headers(headers: Record<string, string>): Reply;
  send(body: unknown): Reply;
}

export interface RouteRequirement<R extends Request> extends Requirement {
  /** The workspace that a request names, for example in its path, which must be the token's own. */
  readonly workspaceOf?: (request: R) => string;
}

interface Refused {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Readonly<Record<"reason" | "message" | "recovery", string>>;
}

/** For Express, Connect and Node's own server. */
export function expressBearer<R extends Request>(
  verifier: Verifier,
  requirement: RouteRequirement<R> = {},
): (request: NoInfer<R>, response: ServerResponse, next: (error?: unknown) => void) => void {
  return (request, response, next) => {
    check(verifier, request, requirement).then((refused) => {
      if (refused === undefined) {
        next();
        return;
      }
      response.writeHead(refused.status, { ...refused.headers, "content-type": "application/json" });
      response.end(JSON.stringify(refused.body));
    }, next);
  };
}

/** For Fastify, as `preHandler` or `onRequest`. */
export function fastifyBearer<R extends Request>(
  verifier: Verifier,
  requirement: RouteRequirement<R> = {},
): (request: NoInfer<R>, reply: Reply) => Promise<Reply | undefined> {
  return async (request, reply) => {
    const refused = await check(verifier, request, requirement);
    return refused && reply.code(refused.status).headers(refused.headers).send(refused.body);
  };
}

/** Undefined: the request may pass. Rejects with what is no matter of the caller's. */
async function check<R extends Request>(
  verifier: Verifier,
  request: R,
  requirement: RouteRequirement<R>,
): Promise<Refused | undefined> {
  const workspaceId = requirement.workspaceOf?.(request);
  try {
    admit(request, await openWith(request.headers.authorization, verifier, requirement, workspaceId));
    return undefined;
  } catch (error) {
    if (!(error instanceof RpcFailure)) {
      throw error;
    }
    return refusedWith(error, [...(requirement.scopes ?? [])]);
  }
}

function refusedWith(failure: RpcFailure, scopes: readonly string[]): Refused {
  const { reason, details: message, recovery } = failure;
  const body = { reason, message, recovery };
  if (failure.code === Code.PERMISSION_DENIED) {
    const scope = scopes.length === 0 ? "" : `, scope="${scopes.join(" ")}"`;
    return { status: 403, headers: { "www-authenticate": `Bearer error="insufficient_scope"${scope}` }, body };
  }
  if (failure.code === Code.UNAUTHENTICATED) {
    const error = reason === "ERROR_REASON_BEARER_MISSING" ? "" : ' error="invalid_token"';
    return { status: 401, headers: { "www-authenticate": `Bearer${error}` }, body };
  }
  return { status: 503, headers: { "retry-after": String(Math.ceil(failure.retryAfterSeconds ?? 1)) }, body };
}
