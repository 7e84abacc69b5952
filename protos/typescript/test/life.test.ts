/** The decisions of a box, one at a time: what it presents, what it keeps, and when it stops. As in Python's tests. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { AgentLife } from "../src/agent/life.js";
import type { Admission, Answer, CallHeartbeat, CallRegister, DiskFault, NextAction, Step, Steps } from "../src/agent/steps.js";
import { Backoff } from "../src/core/backoff.js";
import {
  Code,
  type Launch,
  type Recovery,
  type Remembered,
  RpcFailure,
  Secret,
  Stopped,
  TokenKind,
  deriveInstanceToken,
  newToken,
  sha256Hex,
} from "../src/index.js";

const WORKSPACE = "3f0c6a52-6c39-4c3f-9a1d-6a7d4b9f5a10";
const TICKET = newToken(TokenKind.TICKET);
const DERIVED = deriveInstanceToken(TICKET, WORKSPACE, 3) as Secret;
const LAUNCHED: Launch = { workspaceId: WORKSPACE, address: "r:1", ticket: TICKET, incarnation: 3 };
const BARE: Launch = { workspaceId: WORKSPACE, address: "r:1" };
const IN: Admission = { kind: "admission", outcome: "BOOTSTRAPPED", incarnation: 3, heartbeatIntervalSeconds: 30 };
const NONE: NextAction = { kind: "next", action: "NONE" };
const REGISTER: NextAction = { kind: "next", action: "REGISTER" };
const STOP: NextAction = { kind: "next", action: "STOP" };
const DISK: DiskFault = { kind: "disk-fault", message: "disk full" };
const RECOVERIES: Recovery[] = ["REGISTER", "RETRY", "RELAUNCH", "FIX_REQUEST"];

function refused(reason = "", recovery: Recovery = "RETRY", code: Code = Code.UNAVAILABLE): RpcFailure {
  return new RpcFailure(code, reason === "" ? "" : `ERROR_REASON_${reason}`, "no", { recovery });
}

/** A life whose secrets are s1, s2… and whose chance is always 0. */
class Played {
  readonly life: AgentLife;
  readonly steps: Steps;
  readonly saved: Remembered[] = [];
  readonly waits: number[] = [];
  readonly #remembered: Partial<Remembered> | undefined;

  constructor(launch: Launch, remembered?: Partial<Remembered>) {
    let secrets = 0;
    let requests = 0;
    this.life = new AgentLife(launch, {
      newSecret: () => new Secret(`s${++secrets}`),
      newRequestId: () => `r${++requests}`,
      chance: () => 0,
    });
    this.steps = this.life.steps();
    this.#remembered = remembered;
  }

  /** Send an answer and perform everything up to the next call. */
  call(answer?: Answer): CallRegister | CallHeartbeat {
    for (let said = answer; ; ) {
      const step = this.steps.next(said).value as Step;
      said = undefined;
      switch (step.kind) {
        case "register":
        case "heartbeat":
          return step;
        case "recall": {
          const remembered = this.#remembered && { requestId: "", ticketSha256: "", ...this.#remembered };
          said = { kind: "loaded", remembered };
          break;
        }
        case "save":
          this.saved.push(step.remembered);
          break;
        case "wait":
          this.waits.push(step.seconds);
      }
    }
  }

  register(answer?: Answer): CallRegister {
    const call = this.call(answer);
    assert.equal(call.kind, "register");
    return call as CallRegister;
  }

  heartbeat(answer?: Answer): CallHeartbeat {
    const call = this.call(answer);
    assert.equal(call.kind, "heartbeat");
    return call;
  }
}

function shown(call: CallRegister | CallHeartbeat): string {
  return call.bearer.reveal();
}

function hashOf(secret: string | Secret): string {
  return sha256Hex(typeof secret === "string" ? new Secret(secret) : secret);
}

test("with a ticket the token is derived, and nothing is stored", () => {
  const box = new Played(LAUNCHED);
  const call = box.register();
  assert.deepEqual([call.ticket, call.tokenSha256], [TICKET, hashOf(DERIVED)]);
  assert.equal(shown(box.heartbeat(IN)), DERIVED.reveal());
  assert.deepEqual(box.saved, []);
});

test("without a ticket the secret is stored before it is used", () => {
  const box = new Played(BARE);
  const call = box.register();
  assert.equal(call.tokenSha256, hashOf("s1"));
  assert.equal(box.saved[0]?.candidate?.reveal(), "s1");
  assert.equal(box.saved[0]?.requestId, call.requestId);
  assert.equal(shown(box.heartbeat(IN)), "s1");
  assert.deepEqual([box.saved.at(-1)?.held?.reveal(), box.saved.at(-1)?.candidate], ["s1", undefined]);
});

test("a secret that cannot be stored is not used", () => {
  const { steps } = new Played(BARE);
  steps.next();
  let step = steps.next({ kind: "loaded", remembered: undefined }).value as Step;
  for (let times = 0; times < 200; times++) {
    assert.equal(step.kind, "save");
    assert.equal((steps.next(DISK).value as Step).kind, "wait");
    step = steps.next().value as Step;
  }
});

test("a state file that cannot be read is tried again, unless the launch itself gives the secret", () => {
  const bare = new Played(BARE).steps;
  assert.equal((bare.next().value as Step).kind, "recall");
  assert.equal((bare.next(DISK).value as Step).kind, "wait");
  assert.equal((bare.next().value as Step).kind, "recall");
  const launched = new Played(LAUNCHED).steps;
  launched.next();
  assert.equal((launched.next(DISK).value as Step).kind, "register");
});

test("one registration keeps its request_id and its secret", () => {
  const box = new Played(BARE);
  const first = box.register();
  for (let times = 0; times < 5; times++) {
    assert.deepEqual(box.register(refused("STORE_UNAVAILABLE")), first);
  }
});

test("a restarted box repeats the registration that it had begun", () => {
  const call = new Played(BARE, { candidate: new Secret("s0"), requestId: "r0" }).register();
  assert.deepEqual([call.tokenSha256, call.requestId], [hashOf("s0"), "r0"]);
});

test("a restarted box presents the token it held", () => {
  const call = new Played(BARE, { held: new Secret("s0") }).register();
  assert.deepEqual([shown(call), call.tokenSha256], ["s0", hashOf("s0")]);
});

test("a token of an earlier launch is not used with a ticket", () => {
  const box = new Played(LAUNCHED, { held: new Secret("old"), ticketSha256: hashOf("old ticket") });
  assert.equal(shown(box.register()), DERIVED.reveal());
  assert.equal(shown(box.heartbeat(IN)), DERIVED.reveal());
});

test("a token made for this very ticket is used", () => {
  const box = new Played(LAUNCHED, { held: new Secret("s0"), ticketSha256: hashOf(TICKET) });
  assert.equal(shown(box.register()), "s0");
});

test("a revoked derived token is followed by a fresh secret at once", () => {
  const box = new Played(LAUNCHED);
  box.register();
  const call = box.register(refused("TOKEN_HASH_IN_USE", "FIX_REQUEST", Code.ALREADY_EXISTS));
  assert.deepEqual(box.waits, []);
  assert.deepEqual([call.tokenSha256, shown(call)], [hashOf("s1"), DERIVED.reveal()]);
  assert.equal(box.saved.at(-1)?.candidate?.reveal(), "s1");
  assert.equal(shown(box.heartbeat(IN)), "s1");
});

test("hashes in use again and again do not spin", () => {
  const box = new Played(BARE);
  box.register();
  for (let times = 0; times < 10; times++) {
    box.register(refused("TOKEN_HASH_IN_USE", "FIX_REQUEST"));
  }
  assert.equal(box.waits.length, 9);
});

test("a reused request_id is replaced, and the secret kept", () => {
  const box = new Played(BARE);
  const first = box.register();
  const second = box.register(refused("REQUEST_ID_REUSED", "FIX_REQUEST"));
  assert.notEqual(second.requestId, first.requestId);
  assert.equal(second.tokenSha256, first.tokenSha256);
});

test("nothing but STOP ends a box", () => {
  for (const recovery of RECOVERIES) {
    for (let code = Code.CANCELLED; code <= Code.UNAUTHENTICATED; code++) {
      const box = new Played(BARE);
      box.register();
      for (let times = 0; times < 40; times++) {
        box.register(refused("ANYTHING", recovery, code));
      }
      box.heartbeat(IN);
      for (let times = 0; times < 40; times++) {
        if (box.call(refused("ANYTHING", recovery, code)).kind === "register") {
          box.heartbeat(IN);
        }
      }
      assert.ok(Math.max(...box.waits) <= 60);
    }
  }
});

for (const [reason, why] of [
  ["INCARNATION_SUPERSEDED", "replaced"],
  ["WORKSPACE_SUSPENDED", "suspended"],
  ["WORKSPACE_REMOVED", "retired"],
  ["A_REASON_OF_LATER", undefined],
] as const) {
  test(`STOP ends a box wherever it is said, and the box says why: ${reason}`, () => {
    const stop = refused(reason, "STOP", Code.FAILED_PRECONDITION);
    const registering = new Played(BARE);
    registering.register();
    assert.throws(() => registering.call(stop), { name: "Stopped", why, reason: `ERROR_REASON_${reason}` });
    const beating = new Played(BARE);
    beating.register();
    beating.heartbeat(IN);
    assert.throws(() => beating.call(stop), { name: "Stopped", why });
    const asking = new Played(BARE);
    asking.register();
    asking.heartbeat(IN);
    assert.equal(shown(asking.register(STOP)), "s1");
    assert.throws(() => asking.call(stop), { name: "Stopped", why });
  });
}

test("a heartbeat's STOP is final, also when nobody says why", () => {
  for (const answer of [refused("STORE_UNAVAILABLE"), IN]) {
    const box = new Played(BARE);
    box.register();
    box.heartbeat(IN);
    box.register(STOP);
    assert.throws(() => box.call(answer), Stopped);
  }
});

test("a heartbeat that says REGISTER leads to Register with what is held", () => {
  for (const said of [
    REGISTER,
    refused("BEARER_REJECTED", "REGISTER", Code.UNAUTHENTICATED),
    refused("BEARER_REJECTED", "RELAUNCH", Code.UNAUTHENTICATED),
    refused("", "RETRY", Code.UNAUTHENTICATED),
  ]) {
    const box = new Played(BARE);
    box.register();
    box.heartbeat(IN);
    assert.equal(shown(box.register(said)), "s1");
  }
});

test("a heartbeat without an answer is repeated with the same token", () => {
  const box = new Played(BARE);
  box.register();
  box.heartbeat(IN);
  for (let times = 0; times < 20; times++) {
    assert.equal(shown(box.heartbeat(refused("STORE_UNAVAILABLE"))), "s1");
  }
  assert.ok(Math.max(...box.waits) <= IN.heartbeatIntervalSeconds);
});

test("heartbeats follow the interval, and are never late", () => {
  const box = new Played(BARE);
  box.register();
  box.heartbeat(IN);
  for (let times = 0; times < 3; times++) {
    box.heartbeat(NONE);
  }
  assert.deepEqual(box.waits, [30, 30, 30]);
});

test("asked to register now, it does so within a second instead of the next heartbeat", () => {
  const box = new Played(BARE);
  box.register();
  box.heartbeat(IN);
  box.life.requestRegistration();
  assert.equal(shown(box.register(NONE)), "s1");
  assert.deepEqual(box.waits.slice(1), [0.25]);
  assert.equal(shown(box.heartbeat(IN)), "s1");
});

test("Register and Heartbeat that contradict each other do not spin", () => {
  const box = new Played(BARE);
  box.register();
  for (let times = 0; times < 12; times++) {
    box.heartbeat(IN);
    box.register(REGISTER);
  }
  assert.deepEqual(box.waits, [...box.waits].sort((a, b) => a - b));
  assert.equal(box.waits.at(-1), 30); // half of 60, at chance 0
});

test("rotation stores the new secret first, and uses it at once", () => {
  const box = new Played(LAUNCHED);
  box.register();
  box.heartbeat(IN);
  box.life.requestRotation();
  const call = box.register(NONE);
  assert.deepEqual([shown(call), call.tokenSha256], [DERIVED.reveal(), hashOf("s1")]);
  const saved = box.saved.at(-1);
  assert.deepEqual([saved?.held?.reveal(), saved?.candidate?.reveal()], [DERIVED.reveal(), "s1"]);
  assert.equal(shown(box.heartbeat(IN)), "s1");
  assert.equal(shown(box.heartbeat(NONE)), "s1");
});

test("heartbeats go on with the old token while a rotation fails", () => {
  const box = new Played(LAUNCHED);
  box.register();
  box.heartbeat(IN);
  box.life.requestRotation();
  const first = box.register(NONE);
  assert.equal(shown(box.heartbeat(refused("RATE_LIMITED"))), DERIVED.reveal());
  assert.deepEqual(box.register(NONE), first);
});

test("a fresh token that is revoked before its first use gives way to the one before it", () => {
  const box = new Played(LAUNCHED);
  box.register();
  box.heartbeat(IN);
  box.life.requestRotation();
  box.register(NONE);
  const relaunch = refused("BEARER_REJECTED", "RELAUNCH", Code.UNAUTHENTICATED);
  assert.equal(shown(box.heartbeat(IN)), "s1");
  assert.equal(shown(box.register(relaunch)), "s1");
  assert.equal(shown(box.register(relaunch)), DERIVED.reveal());
  const call = box.register(refused("TOKEN_HASH_IN_USE", "FIX_REQUEST", Code.ALREADY_EXISTS));
  assert.deepEqual([shown(call), call.tokenSha256], [DERIVED.reveal(), hashOf("s2")]);
  assert.equal(shown(box.heartbeat(IN)), "s2");
});

test("once the fresh token was used, the one before it is forgotten", () => {
  const box = new Played(LAUNCHED);
  box.register();
  box.heartbeat(IN);
  box.life.requestRotation();
  box.register(NONE);
  box.heartbeat(IN);
  box.heartbeat(NONE);
  const relaunch = refused("BEARER_REJECTED", "RELAUNCH", Code.UNAUTHENTICATED);
  assert.deepEqual([shown(box.register(relaunch)), shown(box.register(relaunch))], ["s1", "s1"]);
});

test("an agent that nobody launches shows its api token, and never takes it for its own", () => {
  const box = new Played({ ...BARE, apiToken: new Secret("api") });
  assert.equal(shown(box.register()), "api");
  const again = box.register(refused("TOKEN_HASH_IN_USE", "FIX_REQUEST", Code.ALREADY_EXISTS));
  assert.deepEqual([shown(again), again.tokenSha256], ["api", hashOf("s2")]);
  assert.equal(shown(box.heartbeat(IN)), "s2");
  assert.equal(shown(box.register(REGISTER)), "s2");
  const relaunch = refused("BEARER_REJECTED", "RELAUNCH", Code.UNAUTHENTICATED);
  assert.equal(shown(box.register(relaunch)), "api");
});

test("a refused bearer makes room for the secret whose answer was lost", () => {
  const box = new Played(BARE, { held: new Secret("old"), candidate: new Secret("new"), requestId: "r0" });
  const relaunch = refused("BEARER_REJECTED", "RELAUNCH", Code.UNAUTHENTICATED);
  assert.equal(shown(box.register()), "old");
  assert.equal(shown(box.register(relaunch)), "new");
  assert.equal(shown(box.register(relaunch)), "old");
});

test("back-off doubles with jitter up to a minute", () => {
  const low = new Backoff({ chance: () => 0 });
  const high = new Backoff({ chance: () => 0.999999 });
  const times = Array.from({ length: 10 });
  assert.deepEqual(times.map(() => low.seconds()), [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]);
  assert.deepEqual(times.map(() => Math.round(high.seconds() * 100) / 100), [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
});

test("a hint of the server is honoured up to a minute", () => {
  assert.equal(new Backoff({ chance: () => 0 }).seconds(7), 7);
  assert.equal(new Backoff({ chance: () => 0 }).seconds(45 * 60), 60);
  assert.ok(new Backoff({ chance: () => 0.999 }).seconds(45 * 60) < 60);
});
