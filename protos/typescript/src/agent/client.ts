/**
 * What an agent runtime drops in: a box that gets in, stays in, and finds its way back.
 *
 *     const agent = AgentClient.fromEnvironment({ runtime: "my-agent", url: "https://…" });
 *     agent.start(); // registers and heartbeats from here on, whatever the registry does
 *     await agent.admitted();
 *     agent.report({ activeTasks: 1 });
 *     await agent.finished(); // rejects with Stopped: replaced, suspended or retired
 */
import { randomUUID } from "node:crypto";

import type { JsonObject } from "@bufbuild/protobuf";

import type { Secret } from "../core/secret.js";
import { newToken } from "../core/tokens.js";
import { RegistrationService } from "../gen/agentworkspace/registry/v1/registration_service_pb.js";
import { type CallOptions, Channel, type ClientOf } from "../rpc/channel.js";
import { type RpcFailure, failureFrom } from "../rpc/failure.js";
import {
  API_TOKEN,
  type Announcement,
  type Environment,
  type Launch,
  type Report,
  TICKET,
  checked,
  launchFrom,
  tlsOf,
} from "./launch.js";
import { AgentLife } from "./life.js";
import { FileMemory, type Memory, ProcessMemory } from "./memory.js";
import {
  CALL_SECONDS,
  admissionOf,
  heartbeatRequest,
  nextActionOf,
  registerRequest,
  updateCardRequest,
} from "./messages.js";
import { type Admission, type Answer, type Step, Stopped } from "./steps.js";

/** The client was closed, or not started yet, while something was asked of it. */
export class Closed extends Error {
  override readonly name = "Closed";
}

export interface AgentOptions {
  /** Where tokens are kept that cannot be derived. Default: the launch's state file. */
  readonly memory?: Memory;
  /** Hears what a person may want to know; never a secret. Default: standard error. */
  readonly log?: (line: string) => void;
}

/**
 * One box. A client lives once.
 *
 * `close` ends the heartbeats and nothing else: the token lives on, so that the box can be restarted in place.
 * `deregister` says good-bye for good. Until one of them the process stays alive.
 */
export class AgentClient {
  readonly launch: Launch;
  readonly #memory: Memory;
  readonly #log: (line: string) => void;
  readonly #life: AgentLife;
  readonly #closing = new AbortController();
  #announcement: Announcement;
  #report: Report = {};
  #calls: { channel: Channel; box: ClientOf<typeof RegistrationService> } | undefined;
  #living: Promise<never> | undefined;
  #woken = false;
  #endPause: () => void = () => undefined;
  #news = new Set<() => void>();

  constructor(launch: Launch, announcement: Announcement = {}, options: AgentOptions = {}) {
    this.launch = checked(launch);
    this.#announcement = announcement;
    this.#memory = options.memory ?? (launch.stateFile ? new FileMemory(launch.stateFile) : new ProcessMemory());
    this.#log = options.log ?? ((line) => console.error(`agentworkspace: ${line}`));
    this.#life = new AgentLife(launch, { newSecret: newToken, newRequestId: randomUUID, chance: Math.random });
  }

  /**
   * The box that its launch described; see `launchFrom`. Throws an Error that names the variable which is missing or
   * malformed.
   *
   * Without `environ` this process's own environment is read, and **the bootstrap ticket and an api token are taken out
   * of it**: nothing that is started from here on has any business with it, and a second client of the same process is made from
   * `agent.launch`. (What the process was started with stays readable under /proc.)
   */
  static fromEnvironment(
    announcement: Announcement = {},
    options: AgentOptions & { readonly environ?: Environment } = {},
  ): AgentClient {
    const agent = new AgentClient(launchFrom(options.environ ?? process.env), announcement, options);
    for (const name of options.environ === undefined ? [TICKET, API_TOKEN] : []) {
      if (name in process.env) {
        delete process.env[name];
        agent.#log(`took ${name} out of the environment of this process`);
      }
    }
    return agent;
  }

  /** Register, and heartbeat from then on. Throws when the file with the registry's authorities cannot be read. */
  start(): this {
    if (this.#living !== undefined) {
      throw new Closed("a client lives once; make another");
    }
    const tls = tlsOf(this.launch);
    const channel = new Channel(this.launch.address, { tls });
    this.#calls = { channel, box: channel.client(RegistrationService) };
    this.#living = this.#live();
    // Whoever waits hears of the end; if nobody does, that is no fault of the process.
    this.#living.catch(() => undefined);
    return this;
  }

  /** End the heartbeats. The token lives on. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    await this.#living?.catch(() => undefined);
    this.#calls?.channel.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Start, and live until told to stop. Rejects with Stopped. */
  async run(): Promise<never> {
    this.start();
    try {
      return await this.finished();
    } finally {
      await this.close();
    }
  }

  /** The first admission. Rejects with Stopped when the registry says STOP instead. */
  async admitted(): Promise<Admission> {
    return this.#until(() => this.#life.admission);
  }

  /** Never fulfilled: rejects with Stopped when the registry says STOP, with Closed when the client is closed. */
  finished(): Promise<never> {
    return this.#alive();
  }

  /** The token that stands for this box, to present elsewhere; undefined before admission. */
  bearer(): Secret | undefined {
    return this.#life.bearer;
  }

  /** What the next heartbeats say. Never put a secret into it. */
  report(report: Report): void {
    this.#report = report;
  }

  /**
   * Register again now, with what is held, instead of at the next heartbeat: for a box whose token was refused
   * elsewhere with the word REGISTER. Fulfilled once the box is admitted (again).
   */
  async registerNow(): Promise<Admission> {
    const before = this.#life.admission;
    this.#life.requestRegistration();
    this.#wake();
    return this.#until(() => (this.#life.admission === before ? undefined : this.#life.admission));
  }

  /** Change the token for a fresh one; fulfilled once the fresh one is admitted. */
  async rotate(): Promise<void> {
    await this.admitted();
    const before = this.bearer();
    this.#life.requestRotation();
    this.#wake();
    await this.#until(() => (this.bearer()?.equals(before) ? undefined : true));
  }

  /** Replace card and url, now and at later registrations. Rejects with RpcFailure when refused. */
  async updateCard(change: { agentCard?: JsonObject; url?: string }): Promise<void> {
    const changed = {
      ...this.#announcement,
      ...(change.agentCard === undefined ? {} : { agentCard: change.agentCard }),
      ...(change.url ? { url: change.url } : {}),
    };
    const options = { timeoutSeconds: CALL_SECONDS, bearer: this.#ownBearer() };
    await this.#said(this.#box().updateCard(updateCardRequest(this.launch, changed), options));
    this.#announcement = changed;
  }

  /** Leave for good: the token dies and nobody relaunches the box. Rejects with RpcFailure if refused. */
  async deregister(): Promise<void> {
    const bearer = this.#ownBearer();
    this.#closing.abort();
    this.#wake();
    await this.#living?.catch(() => undefined);
    try {
      const request = { workspaceId: this.launch.workspaceId };
      await this.#box().deregister(request, { timeoutSeconds: CALL_SECONDS, bearer });
    } finally {
      await this.close();
    }
  }

  async #live(): Promise<never> {
    const steps = this.#life.steps();
    let answer: Answer;
    for (;;) {
      if (this.#closing.signal.aborted) {
        throw new Closed("the client was closed");
      }
      let step: Step;
      try {
        step = nextOf(steps, answer);
      } catch (error) {
        this.#log(error instanceof Stopped ? `told to stop: ${error.message}` : `the box broke: ${String(error)}`);
        throw error;
      }
      this.#tell();
      answer = await this.#perform(step);
    }
  }

  async #perform(step: Step): Promise<Answer> {
    const signal = this.#closing.signal;
    switch (step.kind) {
      case "wait":
        if (step.because !== "") {
          this.#log(`${step.because}; next try in ${step.seconds.toFixed(1)} s`);
        }
        await this.#pause(step.seconds);
        return undefined;
      case "register": {
        const request = registerRequest(this.launch, this.#announcement, step);
        const options = { timeoutSeconds: CALL_SECONDS, bearer: step.bearer, signal };
        return answered((each) => this.#box().register(request, each), options, admissionOf);
      }
      case "heartbeat": {
        const request = heartbeatRequest(this.launch, this.#report);
        const options = { timeoutSeconds: CALL_SECONDS, bearer: step.bearer, signal };
        return answered((each) => this.#box().heartbeat(request, each), options, nextActionOf);
      }
      case "recall":
        return this.#fromDisk(async () => ({ kind: "loaded", remembered: await this.#memory.load() }));
      case "save":
        return this.#fromDisk(async () => {
          await this.#memory.save(step.remembered);
          return undefined;
        });
    }
  }

  /** What came of it; a disk's fault is an answer like any other. */
  async #fromDisk(access: () => Promise<Answer>): Promise<Answer> {
    try {
      return await access();
    } catch (error) {
      return { kind: "disk-fault", message: error instanceof Error ? error.message : String(error) };
    }
  }

  async #pause(seconds: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, seconds * 1000);
        this.#endPause = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#woken = false;
  }

  /** Ends the pause that is, or the next one. */
  #wake(): void {
    this.#woken = true;
    this.#endPause();
  }

  #tell(): void {
    for (const hear of [...this.#news]) {
      hear();
    }
  }

  /** The first value that is not undefined, looked at after every step; or whatever ended the box's life first. */
  async #until<T>(look: () => T | undefined): Promise<T> {
    const living = this.#alive();
    let hear: () => void = () => undefined;
    const seen = new Promise<T>((resolve) => {
      hear = () => {
        const value = look();
        if (value !== undefined) {
          resolve(value);
        }
      };
    });
    this.#news.add(hear);
    hear();
    try {
      return await Promise.race([seen, living]);
    } finally {
      this.#news.delete(hear);
    }
  }

  async #said<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      const failure = failureFrom(error);
      if (failure.recovery === "REGISTER") {
        // Not at the next heartbeat, which may be half a minute away.
        this.#life.requestRegistration();
        this.#wake();
      }
      throw failure;
    }
  }

  #alive(): Promise<never> {
    return this.#living ?? Promise.reject(new Closed("start the client first"));
  }

  #box(): ClientOf<typeof RegistrationService> {
    if (this.#calls === undefined) {
      throw new Closed("start the client first");
    }
    return this.#calls.box;
  }

  #ownBearer(): Secret {
    const bearer = this.bearer();
    if (bearer === undefined) {
      throw new Closed("not admitted yet");
    }
    return bearer;
  }
}

function nextOf(steps: Generator<Step, void, Answer>, answer: Answer): Step {
  const { value, done } = steps.next(answer);
  if (done === true) {
    throw new Error("the life of a box has no end of its own");
  }
  return value;
}

async function answered<T>(
  call: (options: CallOptions) => Promise<T>,
  options: CallOptions,
  read: (response: T) => Answer,
): Promise<Answer | RpcFailure> {
  try {
    return read(await call(options));
  } catch (error) {
    return failureFrom(error);
  }
}
