/** What a box remembers across its own restarts: tokens that nothing else could give it back. */
import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { Secret } from "../core/secret.js";

const VERSION = 1;

/** The tokens of a box. */
export interface Remembered {
  /** The one that the registry last admitted, or said to have on record. */
  readonly held?: Secret | undefined;
  /** Made, and perhaps admitted already, but no answer has arrived yet; it belongs to `requestId`. */
  readonly candidate?: Secret | undefined;
  readonly requestId: string;
  /** Of the launch that all this belongs to; empty without a ticket. */
  readonly ticketSha256: string;
}

/** Where it is kept. Both methods reject when the place does not answer. */
export interface Memory {
  load(): Promise<Remembered | undefined>;
  save(remembered: Remembered): Promise<void>;
}

/** Forgets with the process: for boxes without a disk, which then need a ticket. */
export class ProcessMemory implements Memory {
  #remembered: Remembered | undefined;

  async load(): Promise<Remembered | undefined> {
    return this.#remembered;
  }

  async save(remembered: Remembered): Promise<void> {
    this.#remembered = remembered;
  }
}

/** One JSON file, mode 0600, replaced as a whole: it is the old one or the new one. The Python client reads it too. */
export class FileMemory implements Memory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when there is no file, or nothing of ours in it. */
  async load(): Promise<Remembered | undefined> {
    try {
      return parse(await readFile(this.#path, "utf8"));
    } catch (error) {
      if (isMissing(error)) {
        return undefined;
      }
      throw error;
    }
  }

  async save(remembered: Remembered): Promise<void> {
    const directory = dirname(this.#path);
    await mkdir(directory, { mode: 0o700, recursive: true });
    const unfinished = join(directory, `.${basename(this.#path)}-${randomUUID()}`);
    try {
      await writeDurably(unfinished, format(remembered));
      await rename(unfinished, this.#path);
    } catch (error) {
      await unlink(unfinished).catch(() => undefined);
      throw error;
    }
    // The rename itself must survive a crash of the machine.
    const handle = await open(directory, "r");
    await handle.sync().finally(() => handle.close());
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  // Created with mode 0600: at no moment can another user read it.
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function format(remembered: Remembered): string {
  return JSON.stringify({
    version: VERSION,
    held: remembered.held?.reveal() ?? "",
    candidate: remembered.candidate?.reveal() ?? "",
    request_id: remembered.requestId,
    ticket_sha256: remembered.ticketSha256,
  });
}

function parse(text: string): Remembered | undefined {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { version, held, candidate, request_id, ticket_sha256 } = (found ?? {}) as Record<string, unknown>;
  const texts = [held, candidate, request_id, ticket_sha256];
  if (version !== VERSION || !texts.every((each) => typeof each === "string")) {
    return undefined;
  }
  return {
    held: held ? new Secret(String(held)) : undefined,
    candidate: candidate ? new Secret(String(candidate)) : undefined,
    requestId: String(request_id),
    ticketSha256: String(ticket_sha256),
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
