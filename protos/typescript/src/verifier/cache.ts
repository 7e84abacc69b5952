import type { Principal } from "./principals.js";

/** A positive answer. */
export interface Known {
  readonly principal: Principal;
  /** Of the feed it is at least as new as. */
  readonly revision: bigint;
  /** Milliseconds since the epoch at which it must not be used any more. */
  readonly until: number;
}

/**
 * Which tokens were live when last heard of, by SHA-256: bounded, and emptied by the feed of revocations.
 *
 * The oldest entry makes room for a new one: a read must cost nothing, so none is counted.
 */
export class VerifierCache {
  readonly #maxEntries: number;
  readonly #entries = new Map<string, Known>();
  readonly #ofWorkspace = new Map<string, Set<string>>();

  constructor(maxEntries: number) {
    if (maxEntries < 1) {
      throw new RangeError("maxEntries must be positive");
    }
    this.#maxEntries = maxEntries;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(digest: string): Known | undefined {
    return this.#entries.get(digest);
  }

  put(digest: string, known: Known): void {
    this.drop(digest);
    if (this.#entries.size >= this.#maxEntries) {
      for (const oldest of this.#entries.keys()) {
        this.drop(oldest);
        break;
      }
    }
    this.#entries.set(digest, known);
    const siblings = this.#ofWorkspace.get(known.principal.workspaceId) ?? new Set();
    this.#ofWorkspace.set(known.principal.workspaceId, siblings.add(digest));
  }

  drop(digest: string): void {
    const known = this.#entries.get(digest);
    if (known === undefined) {
      return;
    }
    this.#entries.delete(digest);
    const siblings = this.#ofWorkspace.get(known.principal.workspaceId);
    siblings?.delete(digest);
    if (siblings?.size === 0) {
      this.#ofWorkspace.delete(known.principal.workspaceId);
    }
  }

  dropWorkspace(workspaceId: string): void {
    for (const digest of this.#ofWorkspace.get(workspaceId) ?? []) {
      this.#entries.delete(digest);
    }
    this.#ofWorkspace.delete(workspaceId);
  }

  clear(): void {
    this.#entries.clear();
    this.#ofWorkspace.clear();
  }
}
