/**
 * Bearers at HTTP services: one check in front of a route, in the shapes that Express and Fastify want.
 *
 *     app.get("/tasks", expressBearer(verifier, { scopes: ["tasks:read"] }), (request, response) => {
 *       response.json({ workspace: principalOf(request).workspaceId });
 *     });
 *
 *     fastify.get("/tasks", { preHandler: fastifyBearer(verifier) }, async (request) => principalOf(request).workspaceId);
 *
 * Refused: 401, 403 for a token of the wrong kind or scope, 503 with `Retry-After` when nobody can tell; always with
 * `WWW-Authenticate`. Body and headers say code, reason, message and recovery, word for word as the Python client's.
 */
import type { IncomingHttpHeaders, ServerResponse } from "node:http";

import { CORRELATION_KEY, Code, REASON_KEY, RECOVERY_KEY, RpcFailure, correlationIdOf } from "../rpc/failure.js";
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
  readonly body: { readonly error: Readonly<Record<"code" | "reason" | "message" | "recovery", string>> };
}

const STATUS: Readonly<Partial<Record<Code, number>>> = {
  [Code.UNAUTHENTICATED]: 401,
  [Code.PERMISSION_DENIED]: 403,
};
const CHALLENGE = 'Bearer realm="agentworkspace"';

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
    return refusedWith(error, [...(requirement.scopes ?? [])], request.headers[CORRELATION_KEY]?.toString());
  }
}

function refusedWith(failure: RpcFailure, scopes: readonly string[], correlationId: string | undefined): Refused {
  const { reason, details: message, recovery } = failure;
  const status = STATUS[failure.code] ?? 503;
  return {
    status,
    headers: {
      "www-authenticate": challengeOf(reason, scopes),
      [REASON_KEY]: reason,
      [RECOVERY_KEY]: recovery,
      [CORRELATION_KEY]: correlationIdOf(correlationId),
      ...(status === 503 ? { "retry-after": "1" } : {}),
    },
    body: { error: { code: Code[failure.code], reason, message, recovery } },
  };
}

/** As RFC 6750 has it. */
function challengeOf(reason: string, scopes: readonly string[]): string {
  switch (reason) {
    case "ERROR_REASON_BEARER_REJECTED":
      return `${CHALLENGE}, error="invalid_token"`;
    case "ERROR_REASON_TOKEN_SCOPE":
      return `${CHALLENGE}, error="insufficient_scope", scope="${[...scopes].sort().join(" ")}"`;
    case "ERROR_REASON_TOKEN_KIND":
      return `${CHALLENGE}, error="insufficient_scope"`;
    default:
      return CHALLENGE;
  }
}
