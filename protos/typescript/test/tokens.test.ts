/** What protos/README.md prints for authors without our stubs is what this computes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import { Secret, TokenKind, deriveInstanceToken, isWellFormed, newToken, sha256Hex } from "../src/index.js";
import { ROOT } from "./pair.js";

/** The cells of every table row that starts with a token. */
function rows(): string[][] {
  const lines = readFileSync(join(ROOT, "protos", "README.md"), "utf8").split("\n");
  return lines
    .filter((line) => line.startsWith("| `aw"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", "")));
}

test("every token printed is well-formed", () => {
  const tokens = rows().flat().filter((cell) => cell.startsWith("aw"));
  assert.ok(tokens.length >= 7);
  assert.deepEqual(tokens.filter((token) => !isWellFormed(new Secret(token))), []);
});

test("every hash printed is that of the token before it", () => {
  for (const row of rows()) {
    const [token, hash] = row.slice(-2) as [string, string];
    assert.equal(sha256Hex(new Secret(token)), hash);
  }
});

test("every derived token printed is the one of its launch", () => {
  const launches = rows().filter((row) => row[0]?.startsWith(TokenKind.TICKET) && row[3]?.startsWith(TokenKind.INSTANCE));
  assert.ok(launches.length >= 2);
  for (const [ticket = "", workspaceId = "", incarnation, token] of launches) {
    assert.equal(deriveInstanceToken(new Secret(ticket), workspaceId, Number(incarnation))?.reveal(), token);
  }
});

test("a ticket of another format derives nothing", () => {
  const ticket = newToken(TokenKind.TICKET).reveal();
  for (const other of ["", "a ticket that its maker chose", `${ticket.slice(0, -1)}!`, newToken().reveal()]) {
    assert.equal(deriveInstanceToken(new Secret(other), "w", 1), undefined);
  }
});

test("no way of printing a secret shows it", () => {
  const secret = newToken();
  const shown = [String(secret), `${secret}`, JSON.stringify({ secret }), inspect({ secret }, { showHidden: true })];
  assert.deepEqual(shown.filter((text) => text.includes("awi_")), []);
  assert.ok(secret.equals(new Secret(secret.reveal())));
  assert.equal(secret.equals(newToken()), false);
});
