// Starts the real firman on free loopback ports with data of its own, and speaks to its command line; the
// same for its simulation of Claude, and for programs that use Claude.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const BINARY =
  process.env.FIRMAN_BIN ?? fileURLToPath(new URL("../../../target/debug/firman", import.meta.url));
const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 20_000;
const COMMAND_DEADLINE_MS = 60_000;
const ANSWER_DEADLINE_MS = 60_000;

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

// Asks until the answer is truthy, and returns it.
export async function until(what, ask, { deadlineMs = START_DEADLINE_MS, everyMs = 50 } = {}) {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${deadlineMs} ms in vain until ${what}`);
    await pause(everyMs);
  }
}

// A process of ours in the background, ended by its own handle.
class Background {
  constructor(command, args, options) {
    this.process = spawn(command, args, options);
    this.ended = new Promise((resolve) => {
      this.process.on("exit", (code, signal) => resolve(signal ?? code));
      this.process.on("error", resolve);
    });
  }

  async stop() {
    this.process.kill("SIGTERM");
    const giveUp = setTimeout(() => this.process.kill("SIGKILL"), STOP_DEADLINE_MS);
    const how = await this.ended;
    clearTimeout(giveUp);
    if (how === "SIGKILL") throw new Error(`${this.process.spawnargs.join(" ")} did not stop on SIGTERM`);
  }
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
    firman.server = firman.background("serve");
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
    this.server.ended.then((how) => (ended = `ended: ${how}`));
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
    await this.server.stop();
    await rm(this.directory, { recursive: true });
  }

  // Starts one firman command that goes on until it is stopped.
  background(...args) {
    const log = openSync(join(this.directory, "log"), "a");
    return new Background(BINARY, args, {
      cwd: this.directory,
      env: this.environment,
      stdio: ["ignore", log, log],
    });
  }

  // Runs one firman command and returns what it printed. A failure has its `code` and `stderr`.
  async run(...args) {
    const { stdout } = await promisify(execFile)(BINARY, args, {
      cwd: this.directory,
      env: this.environment,
      timeout: COMMAND_DEADLINE_MS,
    });
    return stdout;
  }

  // The same for data.
  async command(...args) {
    return JSON.parse(await this.run(...args, "--output", "json"));
  }

  // Writes a file that a command can read, and returns its path.
  async file(name, content) {
    const path = join(this.directory, name);
    await writeFile(path, content, { mode: 0o600 });
    return path;
  }
}

// `firman claude simulate`: what stands in for Claude.
export class ClaudeSimulator {
  static async start({ listen = "127.0.0.1:0", adminToken } = {}) {
    const simulator = new ClaudeSimulator();
    const token = adminToken ? ["--admin-token", adminToken] : [];
    const args = ["claude", "simulate", "--listen", listen, ...token, "--output", "json"];
    simulator.server = new Background(BINARY, args, {
      env: { PATH: process.env.PATH },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const lines = createInterface({ input: simulator.server.process.stdout });
    const told = await Promise.race([once(lines, "line"), simulator.server.ended]);
    if (!Array.isArray(told)) throw new Error(`firman claude simulate ended: ${told}`);
    const { url, admin_token, organization_id, history_url } = JSON.parse(told[0]);
    simulator.url = url;
    simulator.adminToken = admin_token;
    simulator.organization = organization_id;
    simulator.historyUrl = history_url;
    return simulator;
  }

  // Ends it, and starts another one at the same place, which knows nothing of what this one gave out.
  async replace() {
    await this.stop();
    return ClaudeSimulator.start({ listen: new URL(this.url).host, adminToken: this.adminToken });
  }

  // The attempts to exchange a token by one rule, oldest first.
  async history(rule) {
    const { data } = await (await fetch(this.historyUrl)).json();
    const attempts = data.filter(({ event_data }) => event_data.federation_rule_id === rule).reverse();
    return attempts.map(({ event_data, status }) => ({
      outcome: status.outcome,
      reason: status.reason,
      jti: event_data.oidc_token.jti,
      account: event_data.requested_service_account_id,
    }));
  }

  stop() {
    return this.server.stop();
  }
}

// A program that uses Claude: ask.js, which sends a message for each line that it reads. It has the
// environment that is given and nothing else.
export class Program {
  static start(env, wrapper = []) {
    const program = new Program();
    const ask = fileURLToPath(new URL("ask.js", import.meta.url));
    const [command, ...args] = [...wrapper, process.execPath, ask];
    program.running = new Background(command, args, {
      env: { PATH: process.env.PATH, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { stdin, stdout, stderr } = program.running.process;
    stdin.on("error", () => {}); // It may have ended; that is told below.
    program.answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
    program.said = "";
    stderr.setEncoding("utf8").on("data", (text) => (program.said += text));
    return program;
  }

  // Sends one message and returns the outcome.
  async ask() {
    this.running.process.stdin.write("ask\n");
    const late = new AbortController();
    const answer = await Promise.race([
      this.answers.next(),
      pause(ANSWER_DEADLINE_MS, { done: true }, { signal: late.signal }).catch(() => {}),
    ]);
    late.abort();
    if (answer.done) throw new Error(`no answer from ${this.running.process.spawnargs.join(" ")}\n${this.said}`);
    return JSON.parse(answer.value);
  }

  // Lets it come to its end, and returns its exit code.
  async end() {
    this.running.process.stdin.end();
    const giveUp = setTimeout(() => this.running.process.kill("SIGKILL"), STOP_DEADLINE_MS);
    const how = await this.running.ended;
    clearTimeout(giveUp);
    return how;
  }
}
