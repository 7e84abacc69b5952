/**
 * A server interceptor for @grpc/grpc-js that lets calls in by their workspace token, method by method.
 *
 *     const server = new Server({
 *       interceptors: [
 *         bearerInterceptor(verifier, {
 *           "/acme.tasks.v1.Tasks/Take": { kind: TokenKind.INSTANCE },
 *           "/acme.tasks.v1.Tasks/List": { scopes: ["tasks:read"] },
 *         }),
 *       ],
 *     });
 *
 * Inside a method, `principalOf(call)` says who calls. A method that is not in the mapping is closed.
 */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
} from "@grpc/grpc-js";

import { CORRELATION_KEY, correlationIdOf, failureFrom, statusOf } from "../rpc/failure.js";
import { admit, openWith, principalOf, refusal, rejection } from "./gate.js";
import { Rejected, type Requirement } from "./principals.js";
import type { Verifier } from "./verifier.js";

/** What a method asks of its callers' tokens; "open": none is needed. */
export type MethodRequirement = MethodNeeds | "open";

export interface MethodNeeds extends Requirement {
  /** The workspace that a request names, which must be the token's own. */
  readonly workspaceOf?: (request: never) => string;
}

const INFRASTRUCTURE = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/** `requirements`: by full method name, such as `/acme.tasks.v1.Tasks/Take`. `domain`: of the refusals' ErrorInfo. */
export function bearerInterceptor(
  verifier: Verifier,
  requirements: Readonly<Record<string, MethodRequirement>>,
  options: { readonly domain?: string } = {},
): ServerInterceptor {
  return (method, call) => {
    const needs = isInfrastructure(method.path) ? "open" : requirements[method.path];
    if (needs === "open") {
      return new ServerInterceptingCall(call);
    }
    const gate = new Gate(verifier, needs, call, options.domain);
    return new ServerInterceptingCall(call, { start: (next) => next(gate.listener()) });
  };
}

/** One call: lets it through to its handler, or answers it. */
class Gate {
  readonly #verifier: Verifier;
  readonly #needs: MethodNeeds | undefined;
  readonly #call: ServerInterceptingCallInterface;
  readonly #domain: string | undefined;
  #metadata: Metadata | undefined;
  #isOver = false;

  constructor(
    verifier: Verifier,
    needs: MethodNeeds | undefined,
    call: ServerInterceptingCallInterface,
    domain: string | undefined,
  ) {
    this.#verifier = verifier;
    this.#needs = needs;
    this.#call = call;
    this.#domain = domain;
  }

  listener(): ServerListener {
    return {
      onReceiveMetadata: (metadata, next) => {
        this.#metadata = metadata;
        void this.#letIn(metadata, next);
      },
      onReceiveMessage: (message, next) => {
        if (this.#isOfItsWorkspace(message as never)) {
          next(message);
        }
      },
      onReceiveHalfClose: (next) => {
        if (!this.#isOver) {
          next();
        }
      },
      onCancel: () => {
        this.#isOver = true;
      },
    };
  }

  async #letIn(metadata: Metadata, next: (metadata: Metadata) => void): Promise<void> {
    try {
      if (this.#needs === undefined) {
        throw refusal("METHOD_CLOSED", "nobody may call this method", this.#domain);
      }
      const header = metadata.get("authorization")[0]?.toString();
      admit(metadata, await openWith(header, this.#verifier, this.#needs, undefined, this.#domain));
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (!this.#isOver) {
      next(metadata);
    }
  }

  #isOfItsWorkspace(message: never): boolean {
    const workspaceOf = this.#needs?.workspaceOf;
    if (this.#isOver || this.#metadata === undefined) {
      return false;
    }
    if (workspaceOf !== undefined && workspaceOf(message) !== principalOf(this.#metadata).workspaceId) {
      this.#refuse(rejection(new Rejected("TOKEN_INVALID"), this.#domain));
      return false;
    }
    return true;
  }

  #refuse(error: unknown): void {
    if (!this.#isOver) {
      this.#isOver = true;
      const given = this.#metadata?.get(CORRELATION_KEY)[0]?.toString();
      this.#call.sendStatus(statusOf(failureFrom(error), correlationIdOf(given)));
    }
  }
}

function isInfrastructure(path: string): boolean {
  return INFRASTRUCTURE.some((service) => path.startsWith(`/${service}/`));
}
