/** The trace context that calls carry where the program uses OpenTelemetry, with its own SDK; and without it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { Metadata, Server, ServerCredentials, type ServerWritableStream, type sendUnaryData } from "@grpc/grpc-js";
import { SpanKind, SpanStatusCode, context as contexts, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";

import { TokenService } from "../src/gen/registry-v1.js";
import { Channel, type ClientOf, Code } from "../src/index.js";
import { ROOT } from "./pair.js";
import { definitionOf } from "./token-registry.js";

const PARENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };

/** A registry that keeps what `traceparent` it was sent, and fails `times` times before it answers. */
async function serving(context: TestContext, times = 0): Promise<{ sent: unknown[]; tokens: ClientOf<typeof TokenService> }> {
  const sent: unknown[] = [];
  const server = new Server();
  const answer = (call: { metadata: Metadata }, callback: sendUnaryData<unknown>) => {
    sent.push(...call.metadata.get("traceparent"));
    callback(times-- > 0 ? { code: Code.UNAVAILABLE, details: "a secret" } : null, {});
  };
  const stream = (call: ServerWritableStream<unknown, unknown>) => {
    sent.push(...call.metadata.get("traceparent"));
    call.end();
  };
  const methods = TokenService.methods.filter((each) => ["MintToken", "ListTokens", "WatchRevocations"].includes(each.name));
  server.addService(definitionOf(methods), { MintToken: answer, ListTokens: answer, WatchRevocations: stream });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const channel = new Channel(`127.0.0.1:${port}`);
  context.after(() => {
    channel.close();
    server.forceShutdown();
  });
  return { sent, tokens: channel.client(TokenService) };
}

function within<T>(work: () => Promise<T>): Promise<T> {
  return contexts.with(trace.setSpanContext(contexts.active(), PARENT), work);
}

/** The program's own SDK, until the test is over; what it recorded. */
function recording(context: TestContext): InMemorySpanExporter {
  const spans = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  provider.register();
  context.after(async () => {
    await provider.shutdown();
    trace.disable();
    contexts.disable();
  });
  return spans;
}

async function drained(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream) {
    assert.fail("nobody was to answer");
  }
}

test("a program without an SDK sends no trace context", async (context) => {
  const { sent, tokens } = await serving(context);
  await within(() => tokens.listTokens({}));
  assert.deepEqual(sent, []);
});

test("a call has a span of its own, in the trace of whoever calls, and hands that on", async (context) => {
  const spans = recording(context);
  const { sent, tokens } = await serving(context, 1);
  await within(() => tokens.mintToken({ workspaceId: "w" }));
  const [minted] = spans.getFinishedSpans();
  const own = `00-0af7651916cd43dd8448eb211c80319c-${minted?.spanContext().spanId}-01`;
  assert.deepEqual(sent, [own, own]);
  assert.equal(minted?.parentSpanContext?.spanId, "b7ad6b7169203331");
  assert.deepEqual([minted?.name, minted?.kind], ["agentworkspace.registry.v1.TokenService/MintToken", SpanKind.CLIENT]);
  assert.deepEqual(minted?.attributes, {
    "rpc.system": "grpc",
    "rpc.service": "agentworkspace.registry.v1.TokenService",
    "rpc.method": "MintToken",
    "rpc.grpc.status_code": 0,
  });
});

test("a failed call's span says its code and nothing that the server said", async (context) => {
  const spans = recording(context);
  const { tokens } = await serving(context, 9);
  await assert.rejects(within(() => tokens.listTokens({})), { code: Code.UNAVAILABLE });
  const [listed] = spans.getFinishedSpans();
  assert.deepEqual(listed?.status, { code: SpanStatusCode.ERROR, message: "UNAVAILABLE" });
  assert.equal(listed?.attributes["rpc.grpc.status_code"], 14);
});

test("a stream hands on the context that it is opened in", async (context) => {
  recording(context);
  const { sent, tokens } = await serving(context);
  await within(() => drained(tokens.watchRevocations({})));
  assert.deepEqual(sent, ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]);
});

test("the package works where OpenTelemetry is not installed", () => {
  const package_ = join(ROOT, "protos", "typescript");
  const elsewhere = mkdtempSync(join(tmpdir(), "agentworkspace-node-"));
  cpSync(join(package_, "build", "src"), join(elsewhere, "src"), { recursive: true });
  cpSync(join(package_, "package.json"), join(elsewhere, "package.json"));
  mkdirSync(join(elsewhere, "node_modules"));
  for (const name of ["@bufbuild", "@grpc"]) {
    symlinkSync(join(package_, "node_modules", name), join(elsewhere, "node_modules", name));
  }
  const program = `
    const { Channel } = await import("./src/index.js");
    const { TokenService } = await import("./src/gen/registry-v1.js");
    const channel = new Channel("127.0.0.1:1");
    console.log(await channel.client(TokenService).listTokens({}).catch((error) => error.code));
    console.log(await import("@opentelemetry/api").catch((error) => error.code));
    channel.close();
  `;
  const told = execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: elsewhere, encoding: "utf8" });
  assert.equal(told, "14\nERR_MODULE_NOT_FOUND\n");
});
