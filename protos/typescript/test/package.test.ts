/** What `npm pack` puts into the package is what its exports name. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./pair.js";

const SOURCES = join(ROOT, "protos", "typescript");

interface Packed {
  readonly files: readonly { readonly path: string }[];
}

test("the package holds every file that its exports name", () => {
  const told = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: SOURCES, encoding: "utf8" });
  const [packed] = JSON.parse(told) as readonly Packed[];
  const held = new Set(packed?.files.map(({ path }) => `./${path}`));
  const text = readFileSync(join(SOURCES, "package.json"), "utf8");
  const { exports } = JSON.parse(text) as { exports: Record<string, Record<string, string>> };
  for (const [name, files] of Object.entries(exports)) {
    for (const file of Object.values(files)) {
      assert.ok(held.has(file), `${name}: ${file} is not in the package; run npm run build before npm pack`);
    }
  }
});
