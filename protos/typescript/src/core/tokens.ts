/**
 * Tokens as an agent needs them: made or derived before the call, so that no answer can lose one.
 *
 * Format: a prefix by kind, 32 bytes as base64url without padding (43 characters), then CRC-32 of all before as
 * 6 base62 characters (0-9 A-Z a-z, most significant first). 53 characters in all. The test vectors of
 * protos/README.md hold this copy and the registry's together.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

import { Secret } from "./secret.js";

/** The value is the prefix. */
export const TokenKind = {
  INSTANCE: "awi_",
  API: "awa_",
  TICKET: "awt_",
  PROXY: "awp_",
} as const;
export type TokenKind = (typeof TokenKind)[keyof typeof TokenKind];

const SECRET_BYTES = 32;
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM_CHARACTERS = 6;
const DERIVATION = "agentworkspace/instance/v1";
const OUR_PREFIX = /^aw[iatp]_/;
// The last payload character carries 4 bits, so only 16 of the 64 can stand there.
const OURS = /^(aw[iatp]_)([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])([0-9A-Za-z]{6})$/;

/** A fresh token of this kind. */
export function newToken(kind: TokenKind = TokenKind.INSTANCE): Secret {
  return assemble(kind, randomBytes(SECRET_BYTES));
}

/**
 * The instance token that belongs to this ticket: the same one, however often computed. Undefined when the ticket is
 * not in our format: then its maker chose another, and a random token serves.
 */
export function deriveInstanceToken(
  ticket: Secret,
  workspaceId: string,
  incarnation: number,
): Secret | undefined {
  const [, prefix, payload] = OURS.exec(ticket.reveal()) ?? [];
  if (payload === undefined || prefix !== TokenKind.TICKET || !isWellFormed(ticket)) {
    return undefined;
  }
  const key = Buffer.from(payload, "base64url");
  const message = `${DERIVATION}/${workspaceId}/${incarnation}`;
  return assemble(TokenKind.INSTANCE, createHmac("sha256", key).update(message, "ascii").digest());
}

/** What `token_sha256` fields take: 64 lower-case hex digits over the whole string. */
export function sha256Hex(token: Secret): string {
  return createHash("sha256").update(token.reveal(), "utf8").digest("hex");
}

/** It begins like one of ours, whole or cut off. */
export function isTokenShaped(token: Secret): boolean {
  return OUR_PREFIX.test(token.reveal());
}

/** In our format, with a right checksum. */
export function isWellFormed(token: Secret): boolean {
  const [, prefix, payload, checksum] = OURS.exec(token.reveal()) ?? [];
  return checksum !== undefined && checksum === checksumOf(`${prefix}${payload}`);
}

function assemble(kind: TokenKind, payload: Buffer): Secret {
  const body = kind + payload.toString("base64url");
  return new Secret(body + checksumOf(body));
}

function checksumOf(body: string): string {
  let rest = crc32(body);
  let digits = "";
  for (let place = 0; place < CHECKSUM_CHARACTERS; place++) {
    digits = ALPHABET.charAt(rest % ALPHABET.length) + digits;
    rest = Math.floor(rest / ALPHABET.length);
  }
  return digits;
}
