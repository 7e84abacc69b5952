/**
 * The life of a box as pure decisions: no network, no clock, no disk.
 *
 * `AgentLife.steps()` is a generator. It yields one step, somebody performs it and sends back what came of it. It is
 * the life that the Python client leads, step for step. The rules it keeps:
 *
 * - The secret exists, and is kept where it must be, before the call that makes it a token.
 * - One registration keeps its request_id and its secret, however often it is repeated.
 * - Register comes before the first heartbeat; a token of an earlier launch is not used at all.
 * - Whatever the registry answers is tried again, except STOP.
 */
import { Backoff, type Chance, LONGEST_SECONDS } from "../core/backoff.js";
import type { Secret } from "../core/secret.js";
import { deriveInstanceToken, sha256Hex } from "../core/tokens.js";
import { Code, RpcFailure } from "../rpc/failure.js";
import type { Launch } from "./launch.js";
import type { Remembered } from "./memory.js";
import { type Admission, type Answer, type CallRegister, type Step, type Steps, Stopped } from "./steps.js";

const HASH_IN_USE = "ERROR_REASON_TOKEN_HASH_IN_USE";
const REQUEST_ID_REUSED = "ERROR_REASON_REQUEST_ID_REUSED";
// Heartbeats come a little early, never late, and those of many boxes not at once.
const EARLY_SHARE = 0.1;
const SHORTEST_INTERVAL_SECONDS = 0.05;

export interface Sources {
  readonly newSecret: () => Secret;
  readonly newRequestId: () => string;
  readonly chance: Chance;
}

/** One box. */
export class AgentLife {
  readonly #ticket: Secret | undefined;
  readonly #apiToken: Secret | undefined;
  readonly #derived: Secret | undefined;
  readonly #sources: Sources;
  #own: Remembered;
  #recalled = false;
  // What a restart could not make again from the launch itself, and is not kept yet.
  #unsaved = false;
  // The one before `held`: it lives until `held` is used, and lets the box back in if that is revoked before.
  #previous: Secret | undefined;
  // Which of the secrets goes along as bearer; moves on when one was refused.
  #turn = 0;
  #rotating = false;
  #registering = false;
  #admission: Admission | undefined;

  constructor(launch: Launch, sources: Sources) {
    this.#ticket = launch.ticket;
    this.#apiToken = launch.apiToken;
    this.#derived =
      launch.ticket === undefined || launch.incarnation === undefined
        ? undefined
        : deriveInstanceToken(launch.ticket, launch.workspaceId, launch.incarnation);
    this.#sources = sources;
    this.#own = { requestId: "", ticketSha256: launch.ticket ? sha256Hex(launch.ticket) : "" };
  }

  /** The last one; undefined before the first. */
  get admission(): Admission | undefined {
    return this.#admission;
  }

  /** The token that stands for this box; undefined before the first admission. */
  get bearer(): Secret | undefined {
    return this.#admission === undefined ? undefined : this.#own.held;
  }

  /** Change the token at the next heartbeat. */
  requestRotation(): void {
    this.#rotating = true;
  }

  /** Register, with what is held, instead of the next heartbeat. */
  requestRegistration(): void {
    this.#registering = true;
  }

  /** For ever; throws Stopped when the registry says STOP. */
  *steps(): Steps {
    const inCircles = this.#backoff();
    for (;;) {
      yield* this.#getIn();
      if (yield* this.#stayIn()) {
        inCircles.reset();
      }
      // Told to register again right after each admission: do not spin.
      yield wait(inCircles.seconds());
    }
  }

  /** Until it succeeded; with a secret that the launch itself gives, one attempt a call. */
  *#recall(): Steps {
    const backoff = this.#backoff();
    while (!this.#recalled) {
      const answer = yield { kind: "recall" };
      if (answer?.kind !== "disk-fault") {
        this.#recalled = true;
        const found = answer?.kind === "loaded" ? answer.remembered : undefined;
        if (found !== undefined && this.#isOfThisLaunch(found)) {
          this.#own = { ...found, ticketSha256: this.#own.ticketSha256 };
        }
      } else if (this.#derived !== undefined) {
        return;
      } else {
        // A new secret could not open what the remembered one has locked.
        yield wait(backoff.seconds(), `cannot read the state file: ${answer.message}`);
      }
    }
  }

  #isOfThisLaunch(found: Remembered): boolean {
    return this.#own.ticketSha256 === "" || found.ticketSha256 === this.#own.ticketSha256;
  }

  *#getIn(): Steps {
    const backoff = this.#backoff();
    let hashWasFree = true;
    for (;;) {
      this.#registering = false;
      yield* this.#recall();
      this.#haveASecret();
      yield* this.#keep();
      const answer = yield this.#register();
      if (answer?.kind === "admission") {
        yield* this.#admitted(answer);
        return;
      }
      const failure = failureOf(answer);
      this.#learn(failure);
      if (failure.reason === HASH_IN_USE && hashWasFree) {
        hashWasFree = false; // the next secret is fresh: no need to wait
        continue;
      }
      yield wait(backoff.seconds(failure.retryAfterSeconds), `not admitted: ${failure.message}`);
    }
  }

  /** Heartbeat until told to register; whether at least one went well. */
  *#stayIn(): Steps<boolean> {
    const interval = this.#interval();
    const backoff = this.#backoff(Math.min(LONGEST_SECONDS, interval));
    let wentWell = false;
    for (;;) {
      if (this.#registering) {
        return wentWell;
      }
      if (this.#rotating) {
        yield* this.#rotate();
      }
      const answer = yield { kind: "heartbeat", bearer: this.#held() };
      if (answer?.kind === "next") {
        if (answer.action === "REGISTER") {
          return wentWell;
        }
        if (answer.action === "STOP") {
          return yield* this.#learnWhyToStop();
        }
        wentWell = true;
        this.#previous = undefined;
        backoff.reset();
        yield wait(interval * (1 - EARLY_SHARE * this.#sources.chance()));
        continue;
      }
      const failure = failureOf(answer);
      stopIfTold(failure);
      if (asksToRegister(failure)) {
        return wentWell;
      }
      yield wait(backoff.seconds(failure.retryAfterSeconds), `heartbeat failed: ${failure.message}`);
    }
  }

  /** A heartbeat says STOP without a reason; Register, with the same evidence, says which it is. */
  *#learnWhyToStop(): Steps<never> {
    if (this.#own.requestId === "") {
      this.#own = { ...this.#own, requestId: this.#sources.newRequestId() };
    }
    const answer = yield this.#register();
    if (answer?.kind === "failure") {
      stopIfTold(answer);
    }
    throw new Stopped("NEXT_ACTION_STOP", "the answer to a heartbeat was STOP");
  }

  /** One attempt: heartbeats go on with the old token until the new one is admitted. */
  *#rotate(): Steps {
    if (this.#own.candidate === undefined) {
      this.#begin(this.#sources.newSecret());
    }
    yield* this.#keep();
    const answer = yield this.#register();
    if (answer?.kind === "admission") {
      yield* this.#admitted(answer);
      return;
    }
    const failure = failureOf(answer);
    stopIfTold(failure);
    if (failure.reason === HASH_IN_USE) {
      this.#begin(this.#sources.newSecret());
    } else if (failure.reason === REQUEST_ID_REUSED) {
      this.#begin(this.#own.candidate);
    }
  }

  #haveASecret(): void {
    const own = this.#own;
    if (own.candidate === undefined && own.held === undefined) {
      if (this.#derived === undefined) {
        this.#begin(this.#sources.newSecret());
      } else {
        // Nothing to keep: the same launch computes the same secret.
        this.#own = { ...own, candidate: this.#derived, requestId: this.#sources.newRequestId() };
      }
    } else if (own.requestId === "") {
      this.#own = { ...own, requestId: this.#sources.newRequestId() };
    }
  }

  /** A new registration, to be kept before the first call for it. */
  #begin(candidate: Secret | undefined): void {
    this.#own = { ...this.#own, candidate, requestId: this.#sources.newRequestId() };
    this.#unsaved = !this.#isDerived(candidate);
  }

  *#keep(): Steps {
    const backoff = this.#backoff();
    while (this.#unsaved) {
      const answer = yield { kind: "save", remembered: this.#own };
      if (answer?.kind === "disk-fault") {
        yield wait(backoff.seconds(), `cannot write the state file: ${answer.message}`);
      } else {
        this.#unsaved = false;
      }
    }
  }

  #register(): CallRegister {
    return {
      kind: "register",
      bearer: this.#presented(),
      ticket: this.#ticket,
      tokenSha256: sha256Hex(this.#own.candidate ?? this.#held()),
      requestId: this.#own.requestId,
    };
  }

  /** Held first. The candidate may be a token already, when an answer was lost. */
  #presented(): Secret {
    const known = [this.#own.held, this.#apiToken, this.#own.candidate, this.#previous];
    const choices = known.filter((each) => each !== undefined);
    return choices[this.#turn % choices.length] ?? this.#held();
  }

  *#admitted(admission: Admission): Steps {
    const own = this.#own;
    this.#turn = 0;
    const wasKept = own.candidate !== undefined && !this.#isDerived(own.candidate);
    if (own.candidate !== undefined) {
      this.#rotating = false;
      this.#previous = own.held;
    }
    this.#own = { ...own, held: own.candidate ?? own.held, candidate: undefined, requestId: "" };
    this.#admission = admission;
    if (wasKept) {
      // One attempt: should it fail, the candidate that is kept already leads here again.
      yield { kind: "save", remembered: this.#own };
    }
  }

  /** What the refusal says about the secrets. Throws Stopped for STOP. */
  #learn(failure: RpcFailure): void {
    stopIfTold(failure);
    if (failure.reason === HASH_IN_USE) {
      // The evidence was good, the new secret was not: that hash had its life already.
      if (!this.#presented().equals(this.#apiToken)) {
        this.#own = { ...this.#own, held: this.#presented() };
      }
      this.#begin(this.#sources.newSecret());
      this.#turn = 0;
    } else if (failure.reason === REQUEST_ID_REUSED) {
      this.#begin(this.#own.candidate);
    } else if (asksToRegister(failure)) {
      this.#turn += 1;
    }
  }

  #isDerived(secret: Secret | undefined): boolean {
    return secret === undefined ? this.#derived === undefined : secret.equals(this.#derived);
  }

  #held(): Secret {
    if (this.#own.held === undefined) {
      throw new Error("a box without a candidate holds a token");
    }
    return this.#own.held;
  }

  #interval(): number {
    return Math.max(this.#admission?.heartbeatIntervalSeconds ?? 0, SHORTEST_INTERVAL_SECONDS);
  }

  #backoff(longest: number = LONGEST_SECONDS): Backoff {
    return new Backoff({ longest, chance: this.#sources.chance });
  }
}

function wait(seconds: number, because = ""): Step {
  return { kind: "wait", seconds, because };
}

function failureOf(answer: Answer): RpcFailure {
  if (answer?.kind !== "failure") {
    throw new TypeError(`a call was answered with ${answer?.kind ?? "nothing"}`);
  }
  return answer;
}

function stopIfTold(failure: RpcFailure): void {
  if (failure.recovery === "STOP") {
    throw new Stopped(failure.reason || Code[failure.code], failure.details);
  }
}

function asksToRegister(failure: RpcFailure): boolean {
  if (failure.recovery === "REGISTER" || failure.recovery === "RELAUNCH") {
    return true;
  }
  // Said by something in between, which knows nothing of recoveries.
  return failure.code === Code.UNAUTHENTICATED;
}
