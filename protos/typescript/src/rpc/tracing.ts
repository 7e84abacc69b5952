/**
 * Spans and the W3C context of a call, where the program uses OpenTelemetry; nothing at all without `@opentelemetry/api`.
 *
 * What may stand in a span: names of methods, codes, numbers. Never a request, an answer, a header or an error's text.
 */
import type * as OpenTelemetry from "@opentelemetry/api";
import type { DescMethod } from "@bufbuild/protobuf";

import { Code } from "./failure.js";

export const TRACEPARENT = "traceparent";

const api: typeof OpenTelemetry | undefined = await import("@opentelemetry/api").catch(() => undefined);

/** A call to somebody else, and its span. Where nothing records, it still hands on the context that it is made in. */
export class CallOut {
  readonly #span: OpenTelemetry.Span | undefined;

  constructor(method: DescMethod) {
    const service = method.parent.typeName;
    this.#span = api?.trace.getTracer("agentworkspace").startSpan(`${service}/${method.name}`, {
      kind: api.SpanKind.CLIENT,
      attributes: { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method.name },
    });
  }

  /** What the call takes along. */
  get traceparent(): string | undefined {
    return written(this.#span);
  }

  /** It was answered with this status code of gRPC's. */
  end(code: Code): void {
    this.#span?.setAttribute("rpc.grpc.status_code", code);
    if (api !== undefined && code !== Code.OK) {
      this.#span?.setStatus({ code: api.SpanStatusCode.ERROR, message: Code[code] });
    }
    this.#span?.end();
  }
}

/** Of the context that this runs in, for a call without a span of its own. */
export function traceparent(): string | undefined {
  return written(api?.trace.getActiveSpan());
}

function written(span: OpenTelemetry.Span | undefined): string | undefined {
  const context = span?.spanContext();
  if (api === undefined || context === undefined || !api.isSpanContextValid(context)) {
    return undefined;
  }
  const flags = context.traceFlags.toString(16).padStart(2, "0");
  return `00-${context.traceId}-${context.spanId}-${flags}`;
}
