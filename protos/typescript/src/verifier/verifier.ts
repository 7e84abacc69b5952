/**
 * Checks bearers without one call per check: a cache that the registry's feed of revocations keeps true.
 *
 *     const verifier = new Verifier(new Channel("registry:7101", { bearer: credential })).start();
 *     const principal = await verifier.check(presented, { scopes: ["tasks:read"] });
 *
 * What is known of a token is used as long as the feed is heard, and for five minutes at most. A feed that was silent
 * for three keep-alives says nothing: the registry is asked then, and if it cannot be reached, the check fails as
 * UNAVAILABLE. A feed that broke off is resumed after the last revision heard; what is known survives that only if the
 * feed has caught up again before it would have counted as silent.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { Backoff } from "../core/backoff.js";
import { Secret } from "../core/secret.js";
import { TokenKind, isTokenShaped, isWellFormed, sha256Hex } from "../core/tokens.js";
import { TokenService, type WatchRevocationsResponse } from "../gen/agentworkspace/registry/v1/token_service_pb.js";
import type { Channel, ClientOf } from "../rpc/channel.js";
import { Code, RpcFailure, failureFrom } from "../rpc/failure.js";
import { VerifierCache } from "./cache.js";
import { type Found, type Lookup, Lookups } from "./lookups.js";
import { LIVE, type Principal, Rejected, type Requirement, required } from "./principals.js";

export const DOMAIN = "agentworkspace.client";
const SILENT_KEEP_ALIVES = 3;
const LONGEST_TOKEN = 1024;
const LONGEST_RECONNECT_SECONDS = 5;
const ASCII = /^[\x00-\x7f]+$/;

export interface VerifierOptions {
  readonly maxEntries?: number;
  readonly maxAgeSeconds?: number;
  /** How often the registry sends a keep-alive; three missing ones are silence. */
  readonly keepAliveSeconds?: number;
  readonly lookupSeconds?: number;
  /** The wall clock, for expiry; milliseconds. */
  readonly now?: () => number;
  /** Measures the feed's silence; milliseconds. */
  readonly monotonic?: () => number;
  readonly log?: (line: string) => void;
}

export interface CheckOptions {
  /** The workspace that it must belong to; undefined accepts any workspace's. */
  readonly workspaceId?: string | undefined;
  /** From the receipt of a revocation: asks for knowledge that is no older. */
  readonly minRevision?: bigint;
}

/** The channel carries a credential with the role `verifier`; whoever made it closes it. */
export class Verifier {
  readonly #tokens: ClientOf<typeof TokenService>;
  readonly #cache: VerifierCache;
  readonly #lookups: Lookups;
  readonly #maxAge: number;
  readonly #silentAfter: number;
  readonly #now: () => number;
  readonly #monotonic: () => number;
  readonly #log: (line: string) => void;
  readonly #closing = new AbortController();
  #watching: Promise<void> | undefined;
  #heardAt = Number.NEGATIVE_INFINITY;
  // A connection that resumes an earlier one has not caught up before its first keep-alive.
  #isResuming = false;
  // Counts the times that everything had to be forgotten: an answer from before is not kept.
  #connection = 0;
  #firstRevision = 0n;
  #revision = 0n;

  constructor(channel: Channel, options: VerifierOptions = {}) {
    this.#tokens = channel.client(TokenService);
    this.#cache = new VerifierCache(options.maxEntries ?? 100_000);
    this.#maxAge = (options.maxAgeSeconds ?? 300) * 1000;
    this.#silentAfter = SILENT_KEEP_ALIVES * (options.keepAliveSeconds ?? 1) * 1000;
    this.#lookups = new Lookups(this.#tokens, options.lookupSeconds ?? 5, (lookup, found) =>
      this.#remember(lookup, found),
    );
    this.#now = options.now ?? Date.now;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#log = options.log ?? ((line) => console.error(`agentworkspace: ${line}`));
  }

  /** Follow the feed from here on. Without it every check asks the registry. */
  start(): this {
    this.#watching ??= this.#watch();
    return this;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
    this.#forget();
    this.#lookups.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** How far the feed of revocations was heard. */
  get revision(): bigint {
    return this.#revision;
  }

  /** Whether the feed is heard, so that what is known may be used. */
  get hears(): boolean {
    return this.#monotonic() - this.#heardAt < this.#silentAfter;
  }

  /** How many tokens are known. */
  get size(): number {
    return this.#cache.size;
  }

  /**
   * Whom the token speaks for. Rejects with Rejected when it is not accepted, with RpcFailure UNAVAILABLE when nobody
   * can tell.
   */
  async check(
    token: Secret | string,
    requirement: Requirement = LIVE,
    options: CheckOptions = {},
  ): Promise<Principal> {
    const secret = typeof token === "string" ? new Secret(token) : token;
    const known = this.known(secret, requirement, options);
    if (known !== undefined) {
      return known;
    }
    if (isJunk(secret)) {
      throw new Rejected("TOKEN_INVALID");
    }
    const found = await this.#ask(secret, requirement.kind === TokenKind.PROXY, options.minRevision ?? 0n);
    if (found.principal === undefined) {
      throw new Rejected(found.rejection);
    }
    return required(found.principal, requirement, options.workspaceId);
  }

  /** `check` without asking: undefined where the registry would have to be. Throws Rejected. */
  known(token: Secret | string, requirement: Requirement = LIVE, options: CheckOptions = {}): Principal | undefined {
    const secret = typeof token === "string" ? new Secret(token) : token;
    const known = this.#cache.get(sha256Hex(secret));
    if (known === undefined || known.until <= this.#now() || !this.hears) {
      return undefined;
    }
    const minRevision = options.minRevision ?? 0n;
    if (minRevision > this.#revision && minRevision > known.revision) {
      return undefined;
    }
    return required(known.principal, requirement, options.workspaceId);
  }

  async #ask(token: Secret, asProxy: boolean, minRevision: bigint): Promise<Found> {
    const connection = this.hears ? this.#connection : 0;
    const question = { digest: sha256Hex(token), token, asProxy, connection };
    try {
      let found = await this.#lookups.ask(question);
      if (found.revision < minRevision) {
        // Joined a question that was older than the receipt.
        found = await this.#lookups.ask(question);
      }
      if (found.revision >= minRevision) {
        return found;
      }
    } catch (error) {
      // Whatever it was, it says nothing about the token.
      this.#log(`a token could not be checked: ${failureFrom(error).message}`);
      throw unavailable("the token cannot be checked at the moment");
    }
    throw unavailable("the registry has not come to that revision yet");
  }

  #remember(lookup: Lookup, found: Found): void {
    const { principal } = found;
    const { connection, digest } = lookup.question;
    if (principal === undefined || lookup.isOutdated(found) || found.revision < this.#firstRevision) {
      return;
    }
    if (connection === 0 || connection !== this.#connection || !this.hears) {
      return;
    }
    const until = Math.min(this.#now() + this.#maxAge, principal.expiresAt ?? Number.POSITIVE_INFINITY);
    if (until > this.#now()) {
      this.#cache.put(digest, { principal, revision: found.revision, until });
    }
  }

  async #watch(): Promise<void> {
    const signal = this.#closing.signal;
    const backoff = new Backoff({ first: 0.1, longest: LONGEST_RECONNECT_SECONDS });
    while (!signal.aborted) {
      await this.#follow(backoff);
      await sleep(backoff.seconds() * 1000, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One connection to the feed, until it breaks off or falls silent. */
  async #follow(backoff: Backoff): Promise<void> {
    const connection = new AbortController();
    const leave = () => connection.abort();
    const timer = setTimeout(leave, this.#silentAfter);
    this.#closing.signal.addEventListener("abort", leave, { once: true });
    // After revision 0 the feed tells only what is new: then there is nothing to resume.
    this.#isResuming = this.hears && this.#revision > 0n;
    if (!this.#isResuming) {
      this.#heardAt = Number.NEGATIVE_INFINITY;
    }
    const afterRevision = this.#isResuming ? this.#revision : 0n;
    try {
      for await (const message of this.#tokens.watchRevocations({ afterRevision }, connection)) {
        timer.refresh();
        backoff.reset();
        this.#hear(message);
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) {
        const fault = connection.signal.aborted ? "it is silent" : failureFrom(error).message;
        this.#log(`lost the feed of revocations, and connect anew: ${fault}`);
      }
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener("abort", leave);
    }
  }

  #hear(message: WatchRevocationsResponse): void {
    const { subject, revision } = message;
    if (message.reset || !this.hears) {
      this.#startAnew(revision);
    }
    this.#revision = revision > this.#revision ? revision : this.#revision;
    if (subject.case === "tokenSha256") {
      this.#cache.drop(subject.value);
      this.#lookups.tokenRevoked(subject.value, revision);
    } else if (subject.case === "workspaceId") {
      this.#cache.dropWorkspace(subject.value);
      this.#lookups.workspaceRevoked(subject.value, revision);
    } else {
      this.#isResuming = false;
    }
    // While what was missed is told again, what comes later in it is not known yet.
    if (!this.#isResuming) {
      this.#heardAt = this.#monotonic();
    }
  }

  #startAnew(revision: bigint): void {
    this.#cache.clear();
    this.#connection += 1;
    this.#firstRevision = this.#revision = revision;
    this.#isResuming = false;
  }

  #forget(): void {
    this.#heardAt = Number.NEGATIVE_INFINITY;
    this.#cache.clear();
  }
}

/** What cannot be a token is not worth a call. */
function isJunk(token: Secret): boolean {
  const text = token.reveal();
  if (text.length > LONGEST_TOKEN || !ASCII.test(text)) {
    return true;
  }
  return isTokenShaped(token) && !isWellFormed(token);
}

function unavailable(message: string): RpcFailure {
  return new RpcFailure(Code.UNAVAILABLE, "ERROR_REASON_REGISTRY_UNAVAILABLE", message, { domain: DOMAIN });
}
