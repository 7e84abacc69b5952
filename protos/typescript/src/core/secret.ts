import { timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

const SHOWN = "<secret>";

/** Wraps secret text; every way of printing it shows the same fixed text. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  equals(other: Secret | undefined): boolean {
    if (other === undefined) {
      return false;
    }
    const [own, others] = [Buffer.from(this.#text), Buffer.from(other.#text)];
    return own.length === others.length && timingSafeEqual(own, others);
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}
