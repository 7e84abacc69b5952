export const LONGEST_SECONDS = 60;
const FIRST_SECONDS = 0.5;
// A server's hint is a beginning, not an appointment: up to this share is added by chance.
const SPREAD = 0.25;

/** Numbers in [0, 1). */
export type Chance = () => number;

/** Doubles from half a second up to `longest`, with jitter, so that a herd spreads out. Seconds throughout. */
export class Backoff {
  readonly #first: number;
  readonly #longest: number;
  readonly #chance: Chance;
  #times = 0;

  constructor(options: { first?: number; longest?: number; chance?: Chance } = {}) {
    this.#first = options.first ?? FIRST_SECONDS;
    this.#longest = options.longest ?? LONGEST_SECONDS;
    this.#chance = options.chance ?? Math.random;
  }

  /** The next wait; not shorter than a server's hint, and never longer than `longest`. */
  seconds(hint?: number): number {
    const grown = Math.min(this.#longest, this.#first * 2 ** Math.min(this.#times, 32));
    this.#times += 1;
    const wait = grown * (0.5 + 0.5 * this.#chance());
    if (hint === undefined) {
      return wait;
    }
    const asked = hint * (1 + SPREAD * this.#chance());
    // A hint beyond the ceiling means the ceiling, with jitter still.
    const spreadCeiling = this.#longest * (1 - SPREAD * this.#chance());
    return Math.max(wait, Math.min(asked, spreadCeiling));
  }

  reset(): void {
    this.#times = 0;
  }
}
