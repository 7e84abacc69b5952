/** Both services as processes of their own, on an embedded PostgreSQL: started with the project's own commands. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Channel, Secret } from "../src/index.js";
import { TokenService } from "../src/gen/registry-v1.js";

export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const PYTHON_PROGRAMS = join(ROOT, ".venv", "bin");
const START_SECONDS = 90;

export class Service {
  readonly address: string;
  readonly #name: string;
  readonly #environment: Record<string, string>;
  readonly #log: string;
  #process: ChildProcess | undefined;

  constructor(name: string, address: string, environment: Record<string, string>, log: string) {
    this.#name = name;
    this.address = address;
    this.#environment = environment;
    this.#log = log;
  }

  start(): void {
    const output = openSync(this.#log, "a");
    const child = spawn(join(PYTHON_PROGRAMS, this.#name), ["serve", "--embedded"], {
      env: this.#environment,
      stdio: ["ignore", output, output],
    });
    this.#process = child;
    // Nothing is left behind when the tests themselves break off.
    const abandon = () => child.kill("SIGTERM");
    process.once("exit", abandon);
    child.once("exit", () => process.removeListener("exit", abandon));
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  /** Send it, and wait until the process is gone. */
  async end(name: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill(name);
      await gone;
    }
  }

  get hasEnded(): boolean {
    return this.#process === undefined || this.#process.exitCode !== null;
  }

  logs(): string {
    return readFileSync(this.#log, "utf8").slice(-3000);
  }
}

/** One installation in a directory of its own, which `stop` removes. */
export class Pair {
  readonly registry: Service;
  readonly provision: Service;
  readonly admin: Secret;
  readonly #home: string;

  private constructor(home: string, ports: readonly number[], settings: Record<string, string>) {
    const [registry, provision] = ports.map((port) => `127.0.0.1:${port}`) as [string, string];
    const credentials = join(home, "credentials");
    const environment = {
      PATH: process.env["PATH"] ?? "",
      WORKSPACE_SERVICES_HOME: home,
      REGISTRY_LISTEN: registry,
      REGISTRY_CREDENTIALS_FILE: join(credentials, "registry", "callers.json"),
      REGISTRY_HEARTBEAT_INTERVAL_SECONDS: "1",
      PROVISION_LISTEN: provision,
      PROVISION_CREDENTIALS_FILE: join(credentials, "provision", "callers.json"),
      PROVISION_REGISTRY_ADDRESS: registry,
      PROVISION_REGISTRY_TOKEN_FILE: join(credentials, "provision", "registry-token"),
      PROVISION_SECRETS_KEYS_FILE: join(credentials, "provision", "secrets-keys.json"),
      ...settings,
    };
    this.#home = home;
    this.admin = new Secret(readFileSync(join(credentials, "admin-token"), "utf8").trim());
    this.registry = new Service("registry-service", registry, environment, join(home, "registry.log"));
    this.provision = new Service("provision-service", provision, environment, join(home, "provision.log"));
  }

  static async start(settings: Record<string, string> = {}): Promise<Pair> {
    const home = mkdtempSync(join(tmpdir(), "agentworkspace-node-"));
    // PostgreSQL never runs as root: the user that runs it for root must get through here.
    chmodSync(home, 0o711);
    const made = spawnSync(join(PYTHON_PROGRAMS, "python"), [join(ROOT, "deploy", "installation.py"), home]);
    if (made.status !== 0) {
      throw new Error(`deploy/installation.py failed: ${made.error ?? made.stderr.toString()}`);
    }
    const pair = new Pair(home, await freePorts(2), settings);
    try {
      pair.registry.start();
      pair.provision.start();
      await pair.untilServing();
    } catch (error) {
      await pair.stop();
      throw error;
    }
    return pair;
  }

  channel(service: Service = this.registry): Channel {
    return new Channel(service.address, { bearer: this.admin });
  }

  /** Until both answer; the registry may be one that was just started again. */
  async untilServing(): Promise<void> {
    for (const service of [this.registry, this.provision]) {
      using channel = this.channel(service);
      const giveUp = Date.now() + START_SECONDS * 1000;
      // Each says UNIMPLEMENTED or NOT_FOUND as soon as it serves.
      for (;;) {
        const code = await channel
          .client(TokenService)
          .listTokens({ workspaceId: "00000000-0000-4000-8000-000000000000" }, { timeoutSeconds: 2 })
          .then(() => 0, (error) => (error as { code: number }).code);
        if (code === 5 || code === 12) {
          break;
        }
        if (Date.now() > giveUp || service.hasEnded) {
          throw new Error(`a service does not start; it last answered ${code}. Its log ends with:\n${service.logs()}`);
        }
        await sleep(50);
      }
    }
  }

  async stop(): Promise<void> {
    this.registry.signal("SIGCONT");
    await this.provision.end("SIGTERM");
    await this.registry.end("SIGTERM");
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 5 });
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
