// Writes src/gen: messages and services as protoc-gen-es makes them, from ../agentworkspace.protoset.
//
// That descriptor set is committed, and compared with the .proto files by protos/generate.py --check. So neither
// protoc nor buf is needed here, and what is written can never be older than what is committed.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

const here = dirname(fileURLToPath(import.meta.url));
const protoset = join(here, "..", "..", "agentworkspace.protoset");
const target = join(here, "..", "src", "gen");
const plugin = createRequire(import.meta.url).resolve("@bufbuild/protoc-gen-es/bin/protoc-gen-es");

const { file: files } = fromBinary(FileDescriptorSetSchema, readFileSync(protoset));
const request = create(CodeGeneratorRequestSchema, {
  parameter: "target=ts,import_extension=js",
  protoFile: files,
  fileToGenerate: files.map((file) => file.name).filter((name) => name.startsWith("agentworkspace/")),
});
const ran = spawnSync(process.execPath, [plugin], {
  input: toBinary(CodeGeneratorRequestSchema, request),
  maxBuffer: 64 * 1024 * 1024,
});
if (ran.error !== undefined || ran.status !== 0) {
  throw new Error(`protoc-gen-es failed: ${ran.error ?? ran.stderr.toString()}`);
}
const response = fromBinary(CodeGeneratorResponseSchema, ran.stdout);
if (response.error !== "") {
  throw new Error(`protoc-gen-es failed: ${response.error}`);
}
// What an earlier state of the .proto files left behind must not be packed.
for (const stale of [target, join(here, "..", "build")]) {
  rmSync(stale, { recursive: true, force: true });
}
for (const file of response.file) {
  write(file.name, file.content);
}
// One module for each package, which is what is imported from outside.
for (const [service, module] of [["registry", "registry-v1.ts"], ["provision", "provision-v1.ts"]]) {
  const own = response.file.map((file) => file.name).filter((name) => name.startsWith(`agentworkspace/${service}/v1/`));
  write(module, own.map((name) => `export * from "./${name.replace(/\.ts$/, ".js")}";\n`).join(""));
}

function write(name, content) {
  const path = join(target, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}
