import { randomUUID } from "node:crypto";

import { Metadata, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";

import { type FieldViolation, readStatusDetails, writeStatusDetails } from "./status-details.js";

export { status as Code };
export const CORRELATION_KEY = "agentworkspace-correlation-id";
export const REASON_KEY = "agentworkspace-reason";
export const RECOVERY_KEY = "agentworkspace-recovery";
const DETAILS_KEY = "grpc-status-details-bin";
const CORRELATION_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** What whoever was refused should do next. Unknown means RETRY; only STOP is terminal. */
const RECOVERIES = ["REGISTER", "RETRY", "RELAUNCH", "STOP", "FIX_REQUEST"] as const;
export type Recovery = (typeof RECOVERIES)[number];

interface Facts {
  readonly domain?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly retryAfterSeconds?: number | undefined;
  readonly recovery?: Recovery;
  readonly correlationId?: string;
}

/** A refused or failed call, with everything that its server said about it. */
export class RpcFailure extends Error {
  override readonly name = "RpcFailure";
  readonly kind = "failure";
  readonly code: status;
  /** The full name of a value of the service's ErrorReason, such as ERROR_REASON_BEARER_REJECTED; or empty. */
  readonly reason: string;
  readonly domain: string;
  readonly details: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterSeconds: number | undefined;
  readonly recovery: Recovery;
  readonly correlationId: string;

  constructor(code: status, reason: string, details: string, facts: Facts = {}) {
    super(`${[status[code], reason].filter(Boolean).join(" ")}: ${details}`);
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.domain = facts.domain ?? "";
    this.metadata = facts.metadata ?? {};
    this.violations = facts.violations ?? [];
    this.retryAfterSeconds = facts.retryAfterSeconds;
    this.recovery = facts.recovery ?? "RETRY";
    this.correlationId = facts.correlationId ?? "";
  }
}

/**
 * The failure that a server of ours reported, as its client sees it.
 *
 * Never throws: of an answer without (readable) details it keeps code and message, and the recovery is RETRY, as for
 * every recovery word that it does not know.
 */
export function failureFrom(error: unknown): RpcFailure {
  if (error instanceof RpcFailure) {
    return error;
  }
  if (!isServiceError(error)) {
    return new RpcFailure(status.UNKNOWN, "", error instanceof Error ? error.message : String(error));
  }
  const trailing = error.metadata;
  const bytes = trailing.get(DETAILS_KEY)[0];
  const details = bytes instanceof Uint8Array ? readStatusDetails(bytes) : undefined;
  const { recovery: word = textOf(trailing, RECOVERY_KEY), ...metadata } = details?.metadata ?? {};
  return new RpcFailure(error.code, details?.reason || textOf(trailing, REASON_KEY), error.details, {
    domain: details?.domain ?? "",
    metadata,
    violations: details?.violations ?? [],
    retryAfterSeconds: details?.retryAfterSeconds,
    recovery: RECOVERIES.find((known) => known === word) ?? "RETRY",
    correlationId: textOf(trailing, CORRELATION_KEY),
  });
}

/** The caller's own id of a call, if it is one; else a fresh one. */
export function correlationIdOf(given: string | undefined): string {
  return given !== undefined && CORRELATION_ID.test(given) ? given : randomUUID();
}

/** The failure as what a server answers: status, message, rich details, and the plain keys beside them. */
export function statusOf(failure: RpcFailure, correlationId: string): StatusObject {
  const trailing = new Metadata();
  const retryAfterSeconds =
    failure.retryAfterSeconds ?? (failure.code === status.UNAVAILABLE ? 1 : undefined);
  const details = writeStatusDetails(failure.code, failure.details, {
    reason: failure.reason,
    domain: failure.domain,
    metadata: { ...failure.metadata, recovery: failure.recovery },
    violations: [],
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
  trailing.set(DETAILS_KEY, details);
  trailing.set(REASON_KEY, failure.reason);
  trailing.set(RECOVERY_KEY, failure.recovery);
  trailing.set(CORRELATION_KEY, correlationId);
  return { code: failure.code, details: failure.details, metadata: trailing };
}

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "number" &&
    "metadata" in error &&
    error.metadata instanceof Metadata
  );
}

function textOf(metadata: Metadata, key: string): string {
  return metadata.get(key)[0]?.toString() ?? "";
}
