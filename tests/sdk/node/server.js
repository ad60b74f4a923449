// Starts the real firman on free loopback ports with data of its own, and speaks to its command line.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const BINARY =
  process.env.FIRMAN_BIN ?? fileURLToPath(new URL("../../../target/debug/firman", import.meta.url));
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 20_000;
const COMMAND_DEADLINE_MS = 60_000;

// Ports that were free a moment ago; all are held at once so that no two are the same.
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

export class Firman {
  static async start() {
    const firman = new Firman();
    firman.directory = await mkdtemp(join(tmpdir(), "firman-sdk-"));
    const [publicPort, privatePort] = await freePorts(2);
    firman.issuer = `http://127.0.0.1:${publicPort}`;
    // Nothing of the caller's environment gets in: a FIRMAN_DATABASE_URL there must not be used.
    firman.environment = {
      PATH: process.env.PATH,
      FIRMAN_LISTEN: `127.0.0.1:${publicPort}`,
      FIRMAN_ADMIN_LISTEN: `127.0.0.1:${privatePort}`,
      FIRMAN_DATA_DIR: join(firman.directory, "data"),
      FIRMAN_KEYS_DIR: join(firman.directory, "keys"),
    };
    const log = openSync(join(firman.directory, "log"), "w");
    firman.process = spawn(BINARY, ["serve"], {
      cwd: firman.directory,
      env: firman.environment,
      stdio: ["ignore", log, log],
    });
    firman.ended = new Promise((resolve) => {
      firman.process.on("exit", (code, signal) => resolve(signal ?? code));
      firman.process.on("error", resolve);
    });
    try {
      await firman.#waitUntilHealthy();
    } catch (error) {
      await firman.stop();
      throw error;
    }
    return firman;
  }

  async #waitUntilHealthy() {
    let ended;
    this.ended.then((how) => (ended = `ended: ${how}`));
    const deadline = Date.now() + START_DEADLINE_MS;
    while (Date.now() < deadline && !ended) {
      const healthy = await fetch(`${this.issuer}/healthz`, { signal: AbortSignal.timeout(5000) }).then(
        (answer) => answer.status === 200,
        () => false,
      );
      if (healthy) return;
      await pause(50);
    }
    const log = await readFile(join(this.directory, "log"), "utf8");
    throw new Error(`firman ${ended ?? "did not become healthy"}\n${log.slice(-4000)}`);
  }

  async stop() {
    this.process.kill("SIGTERM");
    const giveUp = setTimeout(() => this.process.kill("SIGKILL"), STOP_DEADLINE_MS);
    const how = await this.ended;
    clearTimeout(giveUp);
    await rm(this.directory, { recursive: true });
    if (how === "SIGKILL") throw new Error("firman did not stop on SIGTERM");
  }

  // Runs one firman command and returns the JSON that it printed.
  async command(...args) {
    const { stdout } = await promisify(execFile)(BINARY, [...args, "--output", "json"], {
      cwd: this.directory,
      env: this.environment,
      timeout: COMMAND_DEADLINE_MS,
    });
    return JSON.parse(stdout);
  }

  // Writes a file that a command can read, and returns its path.
  async file(name, content) {
    const path = join(this.directory, name);
    await writeFile(path, content);
    return path;
  }
}
