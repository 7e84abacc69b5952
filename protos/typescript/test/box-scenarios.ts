/** The table of tests/lifecycle/box_scenarios.json, which the Python client plays too, at a real registry. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { AgentClient, type Channel, type Launch, ProcessMemory, Stopped } from "../src/index.js";
import { Workspace, until } from "./control-plane.js";
import { type Pair, ROOT } from "./pair.js";

interface Scenario {
  readonly name: string;
  readonly when: readonly string[];
  readonly first: string;
  readonly newest?: string;
  readonly token?: "same" | "other";
  readonly live: number;
}

const TABLE = readFileSync(join(ROOT, "tests", "lifecycle", "box_scenarios.json"), "utf8");
const { scenarios } = JSON.parse(TABLE) as { scenarios: Scenario[] };
const PAUSE_MS = 10_000;

/** A client, and how it ended. */
class Box {
  readonly agent: AgentClient;
  ended = "";
  readonly log: string[] = [];

  constructor(launch: Launch) {
    const log = (line: string) => void this.log.push(line);
    this.agent = new AgentClient(launch, { runtime: "scenario" }, { memory: new ProcessMemory(), log }).start();
    this.agent.finished().catch((error) => {
      this.ended = error instanceof Stopped ? (error.why ?? error.reason) : String(error);
    });
  }
}

class Play {
  readonly workspace: Workspace;
  readonly boxes: Box[] = [];
  readonly #pair: Pair;
  #launch: Launch | undefined;

  constructor(pair: Pair, channel: Channel) {
    this.#pair = pair;
    this.workspace = new Workspace(pair.registry.address, channel);
  }

  readonly #steps: Readonly<Record<string, (word: never) => Promise<unknown> | unknown>> = {
    begin: async () => (this.#launch = await this.workspace.begin()),
    resume: async () => (this.#launch = await this.workspace.begin({ liftSuspension: true })),
    "begin-briefly": () => this.workspace.begin({ ticketTtl: { seconds: 2n } }),
    box: () => this.boxes.push(new Box(this.#launch as Launch)),
    kill: () => this.#pair.registry.end("SIGKILL"),
    start: async () => {
      this.#pair.registry.start();
      await this.#pair.untilServing();
    },
    pause: async () => {
      this.#pair.registry.signal("SIGSTOP");
      await sleep(PAUSE_MS);
      this.#pair.registry.signal("SIGCONT");
    },
    "revoke-token": (reason) => this.workspace.revokeToken(reason),
    "revoke-all": (reason) => this.workspace.revokeAll(reason),
    "until-stopped": () => until("the first box stopped", () => this.#first().ended !== ""),
    retire: () => this.workspace.retire(),
    rotate: () => this.boxes[0]?.agent.rotate(),
    "register-now": () => this.boxes[0]?.agent.registerNow(),
    restart: async () => {
      await this.boxes.shift()?.agent.close();
      this.boxes.push(new Box(this.#launch as Launch));
    },
  };

  async run(scenario: Scenario): Promise<void> {
    await this.workspace.admit();
    await this.#do("begin");
    await this.#do("box");
    const held = await this.#first().agent.admitted().then(() => this.#first().agent.bearer());
    for (const step of scenario.when) {
      await this.#do(step);
    }
    await this.#endsAs(this.#first(), scenario.first);
    if (scenario.newest !== undefined) {
      await this.#endsAs(this.boxes.at(-1) as Box, scenario.newest);
    }
    if (scenario.token !== undefined) {
      assert.equal(this.#first().agent.bearer()?.equals(held) ? "same" : "other", scenario.token);
    }
    assert.equal((await this.workspace.live()).length, scenario.live);
  }

  async close(): Promise<void> {
    await Promise.all(this.boxes.map((box) => box.agent.close()));
  }


  async #do(step: string): Promise<void> {
    const [word = "", argument] = step.split(" ");
    const take = this.#steps[word];
    assert.ok(take, `the table has a step that nobody knows: ${word}`);
    await take(argument as never);
  }

  async #endsAs(box: Box, end: string): Promise<void> {
    if (end === "in") {
      const heard = await this.workspace.heardAt();
      await until("heard again", async () => (await this.workspace.heardAt()) > heard);
      await until("it holds a live token, the only one", async () => {
        const [live, ...others] = await this.workspace.live();
        const own = await this.workspace.tokenId(box.agent.bearer());
        return live !== undefined && others.length === 0 && live.tokenId === own;
      });
    } else if (end === "waiting") {
      const refused = await this.workspace.refusals();
      await until("refused again", async () => (await this.workspace.refusals()) > refused);
      assert.equal(box.ended, "");
    } else {
      await until(`stopped: ${end}`, () => box.ended !== "");
      assert.equal(box.ended, end);
    }
  }

  #first(): Box {
    return this.boxes[0] as Box;
  }
}

/** One test for each row of the table. */
export function playAll(pair: () => Pair, channel: () => Channel): void {
  for (const scenario of scenarios) {
    test(scenario.name, async (context) => {
      const play = new Play(pair(), channel());
      try {
        await play.run(scenario);
      } catch (error) {
        context.diagnostic(play.boxes.flatMap((box) => box.log).join("\n"));
        throw error;
      } finally {
        await play.close();
      }
    });
  }
}
