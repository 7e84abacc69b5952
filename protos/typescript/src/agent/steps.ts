/** The steps that a box's life is made of, and what may come back of each. */
import type { Secret } from "../core/secret.js";
import type { RpcFailure } from "../rpc/failure.js";
import type { Remembered } from "./memory.js";

/** Which of the three ends of a box it is; undefined when the registry did not say. */
export type StopCause = "replaced" | "suspended" | "retired";

const CAUSES: Readonly<Record<string, StopCause>> = {
  ERROR_REASON_INCARNATION_SUPERSEDED: "replaced",
  ERROR_REASON_WORKSPACE_SUSPENDED: "suspended",
  ERROR_REASON_WORKSPACE_REMOVED: "retired",
};

/** The registry said STOP: the box was replaced, suspended or retired, and should exit. */
export class Stopped extends Error {
  override readonly name = "Stopped";
  readonly reason: string;
  readonly why: StopCause | undefined;

  constructor(reason: string, message: string) {
    super(`${reason}: ${message}`);
    this.reason = reason;
    this.why = CAUSES[reason];
  }
}

/** The registry let the box in. */
export interface Admission {
  readonly kind: "admission";
  /** As on the wire, without its prefix: AUTHENTICATED, BOOTSTRAPPED or RECOVERED; empty for a later word. */
  readonly outcome: string;
  readonly incarnation: number;
  readonly heartbeatIntervalSeconds: number;
}

/** What a heartbeat's answer asks for. */
export interface NextAction {
  readonly kind: "next";
  readonly action: "NONE" | "REGISTER" | "STOP";
}

export type Step =
  /** Back: Loaded or DiskFault. */
  | { readonly kind: "recall" }
  /** Back: nothing or DiskFault. */
  | { readonly kind: "save"; readonly remembered: Remembered }
  | CallRegister
  | CallHeartbeat
  /** Back: nothing, after `seconds` or when woken. `because` is for the log; empty: as usual. */
  | { readonly kind: "wait"; readonly seconds: number; readonly because: string };

/** Back: Admission or RpcFailure. */
export interface CallRegister {
  readonly kind: "register";
  readonly bearer: Secret;
  readonly ticket: Secret | undefined;
  readonly tokenSha256: string;
  readonly requestId: string;
}

/** Back: NextAction or RpcFailure. */
export interface CallHeartbeat {
  readonly kind: "heartbeat";
  readonly bearer: Secret;
}

export interface Loaded {
  readonly kind: "loaded";
  readonly remembered: Remembered | undefined;
}

export interface DiskFault {
  readonly kind: "disk-fault";
  readonly message: string;
}

export type Answer = Loaded | DiskFault | Admission | NextAction | RpcFailure | undefined;
export type Steps<Result = void> = Generator<Step, Result, Answer>;
