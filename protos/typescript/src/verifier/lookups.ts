/** Questions to the registry: one per token however many ask, and many tokens in one call. */
import type { Secret } from "../core/secret.js";
import { TokenKind as WireKind } from "../gen/agentworkspace/registry/v1/token_pb.js";
import {
  RejectionReason,
  type TokenService,
  type ValidateTokenResponse,
} from "../gen/agentworkspace/registry/v1/token_service_pb.js";
import type { ClientOf } from "../rpc/channel.js";
import { Code, RpcFailure, failureFrom } from "../rpc/failure.js";
import { type Principal, type Rejection, principalOf } from "./principals.js";

const MOST_PER_CALL = 1000;
// While so many calls are under way, further questions wait together for one of them to end: two,
// so that one that hangs holds up nobody, and that a call for a few is not made beside many others.
const MOST_CALLS = 2;
const MOST_WAITING = 50_000;

/** The registry's answer: either whom the token speaks for, or why it is not accepted. */
export interface Found {
  readonly principal: Principal | undefined;
  readonly rejection: Rejection;
  readonly revision: bigint;
}

/** What is asked: about one token, and whether as a proxy token, which answers to nothing else. */
export interface Question {
  readonly digest: string;
  readonly token: Secret;
  readonly asProxy: boolean;
  /** Counts connections of the feed; 0: it was silent when the question was asked. */
  readonly connection: number;
}

/** One question under way, and what the feed said meanwhile. */
export class Lookup {
  readonly question: Question;
  readonly answer: Promise<Found>;
  tokenRevokedAt = 0n;
  readonly workspacesRevokedAt = new Map<string, bigint>();
  settle!: (found: Found) => void;
  fail!: (error: unknown) => void;

  constructor(question: Question) {
    this.question = question;
    this.answer = new Promise((resolve, reject) => {
      this.settle = resolve;
      this.fail = reject;
    });
    this.answer.catch(() => undefined); // perhaps nobody waits any more
  }

  /** It accepts the token, and may not know of a revocation that concerns it. */
  isOutdated(found: Found): boolean {
    if (found.principal === undefined) {
      return false;
    }
    const ofWorkspace = this.workspacesRevokedAt.get(found.principal.workspaceId) ?? 0n;
    return found.revision < this.tokenRevokedAt || found.revision < ofWorkspace;
  }
}

/** Asks `ValidateToken`, or `BatchValidateTokens` for what came in meanwhile. */
export class Lookups {
  readonly #tokens: ClientOf<typeof TokenService>;
  readonly #timeoutSeconds: number;
  readonly #answered: (lookup: Lookup, found: Found) => void;
  readonly #closing = new AbortController();
  // Those that one more asker may still join.
  readonly #open = new Map<string, Lookup>();
  // All that have no answer yet.
  readonly #unanswered = new Set<Lookup>();
  #waiting: Lookup[] = [];
  #calls = 0;
  #scheduled = false;

  /** `answered` hears of every answer before those who asked do. */
  constructor(
    tokens: ClientOf<typeof TokenService>,
    timeoutSeconds: number,
    answered: (lookup: Lookup, found: Found) => void,
  ) {
    this.#tokens = tokens;
    this.#timeoutSeconds = timeoutSeconds;
    this.#answered = answered;
  }

  /** Join the same question, or pose it. Rejects with RpcFailure when it stays open. */
  async ask(question: Question): Promise<Found> {
    for (;;) {
      let lookup = this.#open.get(keyOf(question));
      if (lookup === undefined || lookup.question.connection !== question.connection) {
        lookup = this.#pose(new Lookup(question));
      }
      const found = await lookup.answer;
      if (!lookup.isOutdated(found)) {
        return found;
      }
    }
  }

  /** Answers from before this revocation are asked for again, and nobody joins them. */
  tokenRevoked(digest: string, revision: bigint): void {
    for (const lookup of this.#unanswered) {
      if (lookup.question.digest === digest) {
        this.#closeToOthers(lookup);
        lookup.tokenRevokedAt = revision;
      }
    }
  }

  /** Likewise; which questions concern the workspace is not known before their answers. */
  workspaceRevoked(workspaceId: string, revision: bigint): void {
    this.#open.clear();
    for (const lookup of this.#unanswered) {
      lookup.workspacesRevokedAt.set(workspaceId, revision);
    }
  }

  close(): void {
    this.#closing.abort();
    for (const lookup of [...this.#unanswered]) {
      this.#end(lookup);
      lookup.fail(new RpcFailure(Code.CANCELLED, "", "the verifier was closed"));
    }
    this.#waiting = [];
  }

  #pose(lookup: Lookup): Lookup {
    if (this.#waiting.length >= MOST_WAITING) {
      throw new RpcFailure(Code.RESOURCE_EXHAUSTED, "", "too many checks wait");
    }
    this.#open.set(keyOf(lookup.question), lookup);
    this.#unanswered.add(lookup);
    this.#waiting.push(lookup);
    if (!this.#scheduled) {
      this.#scheduled = true;
      // What else is asked in this turn of the loop shares the call.
      setImmediate(() => {
        this.#scheduled = false;
        this.#send();
      });
    }
    return lookup;
  }

  #send(): void {
    while (this.#waiting.length > 0 && this.#calls < MOST_CALLS) {
      const batch = this.#waiting.splice(0, MOST_PER_CALL);
      for (const lookup of batch) {
        if (lookup.question.connection === 0) {
          // Nobody tells us what is revoked from here on, so nobody may join later.
          this.#closeToOthers(lookup);
        }
      }
      this.#calls += 1;
      void this.#call(batch).finally(() => {
        this.#calls -= 1;
        this.#send();
      });
    }
  }

  async #call(batch: readonly Lookup[]): Promise<void> {
    try {
      const results = await this.#results(batch);
      if (results.length !== batch.length) {
        throw new RpcFailure(Code.INTERNAL, "", "the registry answered another number of questions");
      }
      batch.forEach((lookup, place) => this.#settle(lookup, foundOf(results[place])));
    } catch (error) {
      for (const lookup of batch) {
        this.#end(lookup);
        lookup.fail(failureFrom(error));
      }
    }
  }

  async #results(batch: readonly Lookup[]): Promise<readonly ValidateTokenResponse[]> {
    const options = { timeoutSeconds: this.#timeoutSeconds, signal: this.#closing.signal };
    const requests = batch.map(({ question }) => ({
      token: question.token.reveal(),
      audience: { case: "anyWorkspace", value: true } as const,
      requiredKind: question.asProxy ? WireKind.PROXY : WireKind.UNSPECIFIED,
    }));
    const [only] = requests;
    if (requests.length === 1 && only !== undefined) {
      return [await this.#tokens.validateToken(only, options)];
    }
    return (await this.#tokens.batchValidateTokens({ requests }, options)).results;
  }

  #settle(lookup: Lookup, found: Found): void {
    this.#end(lookup);
    this.#answered(lookup, found);
    lookup.settle(found);
  }

  #end(lookup: Lookup): void {
    this.#unanswered.delete(lookup);
    this.#closeToOthers(lookup);
  }

  #closeToOthers(lookup: Lookup): void {
    const key = keyOf(lookup.question);
    if (this.#open.get(key) === lookup) {
      this.#open.delete(key);
    }
  }
}

function keyOf(question: Question): string {
  return question.asProxy ? `proxy ${question.digest}` : question.digest;
}

function foundOf(response: ValidateTokenResponse | undefined): Found {
  const revision = response?.revision ?? 0n;
  const result = response?.result;
  if (result?.case === "principal") {
    return { principal: principalOf(result.value), rejection: "TOKEN_INVALID", revision };
  }
  const ofKind = result?.value?.reason === RejectionReason.TOKEN_KIND;
  return { principal: undefined, rejection: ofKind ? "TOKEN_KIND" : "TOKEN_INVALID", revision };
}
