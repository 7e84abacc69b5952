/** A connection to one of the services, and typed calls over it. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import {
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
  create,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, Metadata, credentials } from "@grpc/grpc-js";

import { Backoff } from "../core/backoff.js";
import { Secret } from "../core/secret.js";
import { CORRELATION_KEY, Code, type RpcFailure, failureFrom } from "./failure.js";
import { CallOut, TRACEPARENT, traceparent } from "./tracing.js";

/** What goes along as `authorization: Bearer`; a function is asked anew for every call. */
export type Bearer = Secret | string | (() => Secret | undefined);

/** PEM texts; without `roots` the authorities that Node trusts, without the other two no client certificate. */
export interface Tls {
  readonly roots?: string | Buffer;
  readonly certificate?: string | Buffer;
  readonly key?: string | Buffer;
}

export interface ChannelOptions {
  readonly bearer?: Bearer;
  readonly tls?: Tls | undefined;
}

export interface CallOptions {
  /** How long to wait for an answer; repetitions count. Default: 10 s for calls, none for streams. */
  readonly timeoutSeconds?: number;
  /** Instead of the channel's. */
  readonly bearer?: Secret | undefined;
  readonly correlationId?: string;
  readonly signal?: AbortSignal | undefined;
}

type Method<M> =
  M extends DescMethodUnary<infer I extends DescMessage, infer O extends DescMessage>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I extends DescMessage, infer O extends DescMessage>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : never;

/** The methods of a service; each throws RpcFailure. */
export type ClientOf<S extends DescService> = {
  readonly [Name in keyof S["method"]]: Method<S["method"][Name]>;
};

type Init = Record<string, unknown>;

const CALL_SECONDS = 10;
const MOST_ATTEMPTS = 4;
const MAX_METADATA_BYTES = 32 * 1024;
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

const OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_metadata_size": MAX_METADATA_BYTES,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // A server that comes back after minutes is found again within seconds.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // What may be repeated is decided here, by request_id, and not by a status code alone.
  "grpc.enable_retries": 0,
} as const;

/**
 * One connection. `close` it when it is no longer needed.
 *
 *     using channel = new Channel("registry:7101", { bearer });
 *     const tokens = channel.client(TokenService);
 *     await tokens.listTokens({ workspaceId });
 */
export class Channel {
  readonly #client: Client;
  readonly #bearer: Bearer | undefined;

  /** `address`: `host:port`; `https://host:port` means TLS, also without `tls`. */
  constructor(address: string, options: ChannelOptions = {}) {
    const { target, tls } = endpointOf(address, options.tls);
    const secured =
      tls === undefined
        ? credentials.createInsecure()
        : credentials.createSsl(asBytes(tls.roots), asBytes(tls.key), asBytes(tls.certificate));
    this.#client = new Client(target, secured, OPTIONS);
    this.#bearer = options.bearer;
  }

  close(): void {
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Every method of the service. A request with a `request_id` gets one if it has none, and only such a call is
   * repeated by itself when it fails as UNAVAILABLE: with the same id it is carried out once, however often it arrives.
   */
  client<S extends DescService>(service: S): ClientOf<S> {
    const methods = service.methods.map((method) => {
      const call =
        method.methodKind === "server_streaming"
          ? (request: Init, options?: CallOptions) => this.#stream(method, request, options ?? {})
          : (request: Init, options?: CallOptions) => this.#repeated(method, request, options ?? {});
      return [method.localName, call] as const;
    });
    return Object.fromEntries(methods) as unknown as ClientOf<S>;
  }

  async #repeated(method: DescMethod, request: Init, options: CallOptions): Promise<object> {
    const message = create(method.input, request) as { requestId?: string };
    const repeats = method.input.field["requestId"] !== undefined;
    if (repeats && !message.requestId) {
      message.requestId = randomUUID();
    }
    const deadline = Date.now() + (options.timeoutSeconds ?? CALL_SECONDS) * 1000;
    const backoff = new Backoff({ first: 0.2, longest: 2 });
    const out = new CallOut(method);
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#unary(method, message, deadline, options, out.traceparent);
        out.end(Code.OK);
        return answer;
      } catch (error) {
        const failure = failureFrom(error);
        const pause = backoff.seconds(failure.retryAfterSeconds) * 1000;
        const again = repeats && attempt < MOST_ATTEMPTS && saysTryAgain(failure);
        if (!again || options.signal?.aborted || Date.now() + pause >= deadline) {
          out.end(failure.code);
          throw failure;
        }
        await sleep(pause);
      }
    }
  }

  #unary(
    method: DescMethod,
    message: object,
    deadline: number,
    options: CallOptions,
    trace: string | undefined,
  ): Promise<object> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        pathOf(method),
        writerOf(method),
        readerOf(method),
        message,
        this.#metadata(options, trace),
        { deadline },
        (error, answer) => {
          options.signal?.removeEventListener("abort", cancel);
          error ? reject(error) : resolve(answer as object);
        },
      );
      const cancel = () => call.cancel();
      options.signal?.addEventListener("abort", cancel, { once: true });
      if (options.signal?.aborted) {
        cancel();
      }
    });
  }

  async *#stream(method: DescMethod, request: Init, options: CallOptions): AsyncGenerator<object> {
    const call = this.#client.makeServerStreamRequest(
      pathOf(method),
      writerOf(method),
      readerOf(method),
      create(method.input, request),
      this.#metadata(options, traceparent()),
      options.timeoutSeconds === undefined ? {} : { deadline: Date.now() + options.timeoutSeconds * 1000 },
    );
    const cancel = () => call.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    if (options.signal?.aborted) {
      cancel();
    }
    try {
      yield* call;
    } catch (error) {
      throw failureFrom(error);
    } finally {
      options.signal?.removeEventListener("abort", cancel);
      cancel();
    }
  }

  #metadata(options: CallOptions, trace: string | undefined): Metadata {
    const metadata = new Metadata();
    const given = options.bearer ?? this.#bearer;
    const bearer = typeof given === "function" ? given() : given;
    if (bearer !== undefined) {
      metadata.set("authorization", `Bearer ${typeof bearer === "string" ? bearer : bearer.reveal()}`);
    }
    metadata.set(CORRELATION_KEY, options.correlationId ?? randomUUID());
    if (trace !== undefined) {
      metadata.set(TRACEPARENT, trace);
    }
    return metadata;
  }
}

/** What gRPC connects to, and whether over TLS. */
export function endpointOf(address: string, tls: Tls | undefined): { target: string; tls: Tls | undefined } {
  return {
    target: address.replace(/^https?:\/\//, "").replace(/\/+$/, ""),
    tls: tls ?? (address.startsWith("https://") ? {} : undefined),
  };
}

function saysTryAgain(failure: RpcFailure): boolean {
  // CANCELLED without a reason is gRPC's own: the server shed the call before a handler saw it.
  return failure.code === Code.UNAVAILABLE || (failure.code === Code.CANCELLED && failure.reason === "");
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function writerOf(method: DescMethod): (message: object) => Buffer {
  return (message) => Buffer.from(toBinary(method.input, message as MessageShape<DescMessage>));
}

function readerOf(method: DescMethod): (bytes: Buffer) => object {
  return (bytes) => fromBinary(method.output, bytes);
}

function asBytes(text: string | Buffer | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
