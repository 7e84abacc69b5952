/** A registry for verifiers on loopback: answers checks from a map, and has a feed that one can steer. */
import { once } from "node:events";

import { type DescMethod, type MessageInitShape, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";

import {
  type BatchValidateTokensRequest,
  type Principal,
  type PrincipalSchema,
  RejectionReason,
  TokenKind,
  TokenService,
  type ValidateTokenRequest,
  ValidateTokenResponseSchema,
  type WatchRevocationsRequest,
  type WatchRevocationsResponse,
  WatchRevocationsResponseSchema,
} from "../src/gen/registry-v1.js";
import { PrincipalSchema as PRINCIPAL } from "../src/gen/registry-v1.js";
import { Channel, type Secret, type Verifier, sha256Hex } from "../src/index.js";
import { until } from "./control-plane.js";

type Watcher = ServerWritableStream<WatchRevocationsRequest, WatchRevocationsResponse>;

export class TokenRegistry {
  revision = 7n;
  /** Keeps the feed's keep-alives back. */
  isSilent = false;
  /** Fails every call. */
  isRefusing = false;
  /** How many tokens each call asked for. */
  readonly calls: number[] = [];
  /** What each connection to the feed said that it knew. */
  readonly resumedAfter: bigint[] = [];
  readonly #principals = new Map<string, Principal>();
  readonly #told: WatchRevocationsResponse[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #server = new Server();
  #held: (() => void)[] | undefined;
  #decided: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  address = "";

  async start(): Promise<Channel> {
    this.#server.addService(definitionOf(TokenService.methods), {
      ValidateToken: unary((request: ValidateTokenRequest) => this.#answer([request]).then(([only]) => only)),
      BatchValidateTokens: unary(async ({ requests }: BatchValidateTokensRequest) => ({
        results: await this.#answer(requests),
        revision: this.revision,
      })),
      WatchRevocations: (call: Watcher) => this.#watch(call),
    });
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    this.address = `127.0.0.1:${port}`;
    this.#timer = setInterval(() => this.isSilent || this.tell({}), 50);
    return new Channel(this.address);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#server.forceShutdown();
  }

  admit(token: Secret, workspaceId = "w1", more: MessageInitShape<typeof PrincipalSchema> = {}): void {
    const tokenId = `id-${this.#principals.size}`;
    const principal = { workspaceId, tenantId: "acme", tokenId, kind: TokenKind.API, ...more };
    this.#principals.set(token.reveal(), create(PRINCIPAL, principal));
  }

  /** The receipt's revision. */
  revoke(token: Secret, { tell = true } = {}): bigint {
    this.#principals.delete(token.reveal());
    this.revision += 1n;
    if (tell) {
      this.tell({ subject: { case: "tokenSha256", value: sha256Hex(token) } });
    }
    return this.revision;
  }

  revokeWorkspace(workspaceId: string): void {
    for (const [token, principal] of this.#principals) {
      if (principal.workspaceId === workspaceId) {
        this.#principals.delete(token);
      }
    }
    this.revision += 1n;
    this.tell({ subject: { case: "workspaceId", value: workspaceId } });
  }

  tell(more: MessageInitShape<typeof WatchRevocationsResponseSchema>): void {
    const message = create(WatchRevocationsResponseSchema, { revision: this.revision, ...more });
    if (message.subject.case !== undefined) {
      this.#told.push(message);
    }
    for (const watcher of this.#watchers) {
      watcher.write(message);
    }
  }

  /** Say nothing more; resolves when the verifier has heard all that was said. */
  async fallSilent(verifier: Verifier): Promise<void> {
    this.isSilent = true;
    this.revision += 1n;
    this.tell({ subject: { case: "tokenSha256", value: "0".repeat(64) } });
    await until("it heard all", () => verifier.revision === this.revision);
  }

  /** Break every connection to the feed. */
  hangUp(): void {
    for (const watcher of this.#watchers) {
      watcher.end();
    }
    this.#watchers.clear();
  }

  /** Checks are decided from here on, and answered after `release`. Resolves with the first of them. */
  hold(): Promise<void> {
    this.#held = [];
    return new Promise((resolve) => (this.#decided = resolve));
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const answer of held) {
      answer();
    }
  }

  async #answer(questions: readonly ValidateTokenRequest[]) {
    if (this.isRefusing) {
      throw { code: status.UNAVAILABLE, details: "no store" };
    }
    this.calls.push(questions.length);
    const answers = questions.map(({ token }) => {
      const value = this.#principals.get(token);
      return create(ValidateTokenResponseSchema, {
        result: value
          ? { case: "principal", value }
          : { case: "rejection", value: { reason: RejectionReason.TOKEN_INVALID } },
        revision: this.revision,
      });
    });
    this.#decided();
    await new Promise<void>((resolve) => (this.#held === undefined ? resolve() : this.#held.push(resolve)));
    return answers;
  }

  #watch(call: Watcher): void {
    if (this.isRefusing) {
      call.emit("error", { code: status.UNAVAILABLE, details: "no store" });
      return;
    }
    this.resumedAfter.push(call.request.afterRevision);
    if (call.request.afterRevision > 0n) {
      for (const message of this.#told.filter((each) => each.revision > call.request.afterRevision)) {
        call.write(message);
      }
    }
    this.#watchers.add(call);
    void once(call, "cancelled").then(() => this.#watchers.delete(call));
  }
}

function unary<I>(answer: (request: I) => Promise<unknown>) {
  return (call: { request: I }, callback: sendUnaryData<unknown>): void => {
    answer(call.request).then((found) => callback(null, found), callback);
  };
}

/** A service of protoc-gen-es as @grpc/grpc-js wants it. */
export function definitionOf(methods: readonly DescMethod[]): ServiceDefinition {
  return Object.fromEntries(
    methods.map((method) => [
      method.name,
      {
        path: `/${method.parent.typeName}/${method.name}`,
        requestStream: false,
        responseStream: method.methodKind === "server_streaming",
        requestSerialize: (message: object) => Buffer.from(toBinary(method.input, create(method.input, message as never))),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (message: object) => Buffer.from(toBinary(method.output, create(method.output, message as never))),
        responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
      },
    ]),
  );
}
