// Claude's own SDK, which knows nothing of firman, gets its messages answered by the simulation of Claude for
// agents of the real binary, on every way in which a token can be handed over. Everything is set up as the
// guide says. The simulation's answer names the service account that was let in, and each agent has one of its
// own, so that an answer for somebody else's would not pass.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import Anthropic from "@anthropic-ai/sdk";
import { oidcFederationProvider } from "@anthropic-ai/sdk/lib/credentials/oidc-federation";
import { WorkloadIdentityError } from "@anthropic-ai/sdk/lib/credentials/types";
import { VERSION } from "@anthropic-ai/sdk/version";
import { BINARY, ClaudeSimulator, Firman, Program, until } from "./server.js";

const MESSAGE = { model: "claude-simulated", max_tokens: 16, messages: [{ role: "user", content: "hi" }] };
// All that a program needs, by name.
const VARIABLES = [
  "ANTHROPIC_BASE_URL",
  "ANTHROPIC_FEDERATION_RULE_ID",
  "ANTHROPIC_IDENTITY_TOKEN_FILE",
  "ANTHROPIC_ORGANIZATION_ID",
  "ANTHROPIC_SERVICE_ACCOUNT_ID",
];
// What a Claude token of a minute and the minute for which Claude keeps keys need, with room.
const SLOWLY = { deadlineMs: 90_000, everyMs: 1000 };

// Clients in this process find nothing by themselves.
for (const name of Object.keys(process.env)) if (name.startsWith("ANTHROPIC_")) delete process.env[name];

let firman; // has its keys registered inline, as everybody whose issuer is not public
let claude;
let rotating; // another one, found by discovery, whose keys come and go
const programs = []; // processes that a failed test may leave behind
const table = [];
let slow;

before(async () => {
  await Promise.all([
    Firman.start().then((started) => (firman = started)),
    Firman.start().then((started) => (rotating = started)),
    ClaudeSimulator.start().then((started) => (claude = started)),
  ]);
  for (const issuer of [firman, rotating]) {
    issuer.environment.ANTHROPIC_ADMIN_TOKEN_FILE = await issuer.file("claude-admin-token", claude.adminToken);
    await issuer.command("resource", "add", "claude", "--profile", "claude");
    await issuer.command("role", "add", "claude-user", "--grant", "claude");
  }
  // The first agent of an issuer makes that known at Claude, and two at once would get in each other's way.
  const sleeper = await Agent.connected("sleeper", { options: ["--token-lifetime", "60s"] });
  // These two wait for a minute to pass; the others run meanwhile.
  slow = { expiry: slowly(outliveAToken(sleeper)), rotation: slowly(outliveTwoKeys()) };
});

after(async () => {
  await Promise.allSettled(Object.values(slow ?? {}).map((outcome) => outcome()));
  await Promise.all(programs.map((program) => program.stop()));
  await Promise.all([firman?.stop(), rotating?.stop(), claude?.stop()]);
  const width = Math.max(...table.map(({ way }) => way.length));
  const lines = table.map(({ way, result }) => `${VERSION.padEnd(7)}  ${way.padEnd(width)}  ${result}`);
  console.log(`@anthropic-ai/sdk against firman\n${"SDK".padEnd(7)}  ${"HAND-OVER".padEnd(width)}  RESULT\n${lines.join("\n")}`);
});

// --- The set-up, as the guide has it ----------------------------------------------------------------

// An agent with a key and its way into Claude, which `firman claude connect` makes.
class Agent {
  static async connected(name, { issuer = firman, at = claude, options = [] } = {}) {
    const agent = Object.assign(new Agent(), { name, issuer, at, options });
    agent.key = join(issuer.directory, `${name}.pem`);
    agent.tokenFile = join(issuer.directory, `${name}.jwt`);
    const registered = ["--owner", "team-mail", "--role", "claude-user", "--generate-key", agent.key];
    await issuer.command("agent", "add", name, ...registered);
    await agent.connect();
    return agent;
  }

  async connect(at = this.at) {
    this.at = at;
    const organization = ["--organization", at.organization];
    const { environment } = await this.issuer.command(...this.#connect(), ...organization, "--apply", "--yes");
    this.rule = environment.ANTHROPIC_FEDERATION_RULE_ID;
    this.account = environment.ANTHROPIC_SERVICE_ACCOUNT_ID;
    this.answer = `simulated answer for ${this.account}`;
    assert.match(this.account, /^svac_/);
  }

  #connect() {
    const where = ["--base-url", this.at.url, "--token-file", this.tokenFile];
    return ["claude", "connect", "--agent", this.name, ...where, ...this.options];
  }

  #tokenGet() {
    return ["token", "get", "--issuer", this.issuer.issuer, "--client-id", this.name, "--key", this.key];
  }

  async token() {
    return (await this.issuer.run(...this.#tokenGet())).trim();
  }

  async writeToken() {
    await this.issuer.run(...this.#tokenGet(), "--out", this.tokenFile);
  }

  // Keeps the file; returns once there is a token in it.
  async watch() {
    const watching = this.issuer.background(...this.#tokenGet(), "--out", this.tokenFile, "--watch");
    programs.push(watching);
    await until("there is a token file", () => this.tokenInode());
  }

  // Which file it is, without reading it: whoever reads it gets another one put in its place.
  async tokenInode() {
    return stat(this.tokenFile, { bigint: true }).then(
      ({ ino, mtimeNs }) => `${ino} ${mtimeNs}`,
      () => null,
    );
  }

  // Waits until another token is in the place of the one that was read.
  async replaced(before) {
    await until("another token took its place", async () => ![null, before].includes(await this.tokenInode()));
  }

  // The variables of `firman claude connect --format env`, as printed.
  async environment() {
    const printed = await this.issuer.run(...this.#connect(), "--format", "env");
    const lines = printed.trimEnd().split("\n");
    return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
  }

  // The profile of `firman claude connect --format profile`, as printed, where the SDKs look for it.
  async profile(home) {
    const content = await this.issuer.run(...this.#connect(), "--format", "profile");
    const path = join(home, ".config/anthropic/configs", `${this.name}.json`);
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, content);
    await chmod(path, 0o600);
    return { HOME: home, ANTHROPIC_PROFILE: this.name };
  }

  // The SDK's provider around a function that runs `firman token get`.
  provider({ rule = this.rule, account = this.account, token = () => this.token() } = {}) {
    return oidcFederationProvider({
      identityTokenProvider: token,
      federationRuleId: rule,
      organizationId: this.at.organization,
      serviceAccountId: account,
      baseURL: this.at.url,
      fetch,
    });
  }

  client(options = {}) {
    return new Anthropic({ baseURL: this.at.url, credentials: this.provider(), ...options });
  }

  // `firman exec` for this agent; a command follows.
  below() {
    const credential = ["--agent", this.name, "--key", this.key];
    return [BINARY, "exec", ...credential, "--base-url", this.at.url, "--"];
  }

  history() {
    return this.at.history(this.rule);
  }

  // Asserts how the exchanges went, oldest first, and that no token was good for two.
  async assertHistory(...expected) {
    const history = await this.history();
    assert.deepEqual(
      history.map(({ outcome, reason }) => reason ?? outcome),
      expected,
    );
    const taken = history.filter(({ outcome }) => outcome === "success").map(({ jti }) => jti);
    assert.equal(new Set(taken).size, taken.length);
    return history;
  }
}

async function say(client) {
  return (await client.messages.create(MESSAGE)).content[0].text;
}

// A program with a home of its own, in which the SDK finds nothing.
async function program(env, wrapper) {
  const HOME = env.HOME ?? (await home());
  const started = Program.start({ ...env, HOME }, wrapper);
  programs.push(started.running);
  return started;
}

let homes = 0;
async function home() {
  const path = join(firman.directory, `home-${++homes}`);
  await mkdir(path, { recursive: true });
  return path;
}

// Sees to it that an early failure of what is awaited late is that test's and nobody else's.
function slowly(promise) {
  promise.catch(() => {});
  return () => promise;
}

// A test that is a line of the table at the end.
function row(way, sentence, body) {
  test(sentence, async () => {
    const line = { way, result: "FAILED" };
    table.push(line);
    line.result = await body();
    assert.equal(typeof line.result, "string");
  });
}

// --- What takes a minute ----------------------------------------------------------------------------

// A client whose Claude token expires between two messages.
async function outliveAToken(agent) {
  const used = [];
  const client = agent.client({
    fetch: (url, options) => {
      used.push(new Headers(options.headers).get("authorization"));
      return fetch(url, options);
    },
  });
  const texts = [await say(client)];
  const [first] = used;
  const headers = { authorization: first, "anthropic-version": "2023-06-01" };
  const models = async () => (await fetch(`${claude.url}/v1/models`, { headers })).status;
  assert.equal(await models(), 200);
  await until("the token has expired", async () => (await models()) === 401, SLOWLY);
  texts.push(await say(client));
  return { agent, texts, used };
}

// Claude keeps an issuer's keys for a minute. A key that was published before it had to sign is known there;
// one that nobody could announce is not until then.
async function outliveTwoKeys() {
  const options = ["--discovery-base", rotating.issuer];
  const agent = await Agent.connected("turner", { issuer: rotating, options });
  const kids = [];
  const message = () => {
    const token = async () => {
      const text = await agent.token();
      kids.push(JSON.parse(Buffer.from(text.split(".")[0], "base64url")).kid);
      return text;
    };
    return say(agent.client({ credentials: agent.provider({ token }) }));
  };
  const withdraw = (kid) => rotating.command("key", "revoke", kid, "--reason", "a test", "--yes");

  await rotating.command("key", "rotate", "--algorithm", "ES256");
  const texts = [await message()];
  await withdraw(kids[0]);
  texts.push(await message());
  const announced = [...kids];
  const history = await agent.history();

  await withdraw(kids[1]);
  const errors = [];
  const answered = async () => message().catch((error) => errors.push(error) && null);
  texts.push(await until("Claude fetched the keys again", answered, SLOWLY));
  return { agent, texts, kids, announced, history, errors };
}

// --- The ways ---------------------------------------------------------------------------------------

describe("Claude's SDK gets messages answered", () => {
  row("callable", "with a function that runs firman token get", async () => {
    const agent = await Agent.connected("caller");
    const client = agent.client();
    assert.equal(await say(client), agent.answer);
    assert.equal(await say(client), agent.answer);
    await agent.assertHistory("success");
    assert.equal(await say(agent.client()), agent.answer);
    const [first, second] = await agent.assertHistory("success", "success");
    assert.equal(first.account, agent.account);
    // The jti is what joins Claude's history with the audit here.
    const issued = await firman.command("audit", "list", "--event", "token.issued", "--agent", agent.name);
    assert.deepEqual(
      issued.items.map(({ token_id }) => token_id).sort(),
      [first.jti, second.jti].sort(),
    );
    return "answered; one exchange for each client, each with a token of its own";
  });

  row("callable", "with a client secret instead of a key", async () => {
    const agent = await Agent.connected("secretive");
    const { client_secret } = await firman.command("credential", "add", agent.name, "--secret");
    const file = await firman.file("secretive.secret", client_secret);
    const get = ["token", "get", "--issuer", firman.issuer, "--client-id", agent.name, "--secret-file", file];
    const token = async () => (await firman.run(...get)).trim();
    assert.equal(await say(agent.client({ credentials: agent.provider({ token }) })), agent.answer);
    await agent.assertHistory("success");
    return "answered, with a client secret";
  });

  row("token file", "from a file that firman token get wrote, for one exchange", async () => {
    const agent = await Agent.connected("filer");
    await agent.writeToken();
    assert.equal((await stat(agent.tokenFile)).mode & 0o777, 0o600);
    const env = await agent.environment();
    const first = await program(env);
    assert.equal((await first.ask()).text, agent.answer);
    assert.equal((await first.ask()).text, agent.answer);
    await agent.assertHistory("success");
    // The file is the same one still, and a token is good once.
    const second = await (await program(env)).ask();
    assert.deepEqual([second.error, second.status], ["WorkloadIdentityError", 401]);
    const [, refused] = await agent.assertHistory("success", "jti_reused");
    assert.equal(second.requestId, refused.requestId);
    await agent.writeToken();
    assert.equal((await (await program(env)).ask()).text, agent.answer);
    return "answered; the same token a second time is refused";
  });

  row("token file, --watch", "from a file that firman keeps, one program after another", async () => {
    const agent = await Agent.connected("keeper");
    await agent.watch();
    const env = await agent.environment();
    for (let turn = 0; turn < 3; turn++) {
      const before = await agent.tokenInode();
      assert.equal((await (await program(env)).ask()).text, agent.answer);
      await agent.replaced(before);
    }
    await agent.assertHistory("success", "success", "success");
    return "answered three programs, each with a token of its own";
  });

  row("token file, --watch", "from a file that firman keeps, two programs beside each other, if not in the same instant", async () => {
    const agent = await Agent.connected("sharer");
    await agent.watch();
    const env = await agent.environment();
    const [one, other] = await Promise.all([program(env), program(env)]);
    const before = await agent.tokenInode();
    assert.equal((await one.ask()).text, agent.answer);
    await agent.replaced(before);
    assert.equal((await other.ask()).text, agent.answer);
    assert.equal((await one.ask()).text, agent.answer);
    await agent.assertHistory("success", "success");
    assert.deepEqual([await one.end(), await other.end()], [0, 0]);
    return "answered two running processes on one file, when not in the same instant";
  });

  row("profile", "with the profile that firman claude connect prints", async () => {
    const agent = await Agent.connected("profiled");
    await agent.writeToken();
    const profile = await agent.profile(await home());
    assert.equal((await (await program(profile)).ask()).text, agent.answer);
    await agent.assertHistory("success");
    return "answered, with the profile as printed";
  });

  row("profile, two processes", "by one exchange for two processes that share a profile", async () => {
    const agent = await Agent.connected("cached");
    await agent.writeToken();
    const profile = await agent.profile(await home());
    const [one, other] = await Promise.all([program(profile), program(profile)]);
    assert.equal((await one.ask()).text, agent.answer);
    assert.equal((await other.ask()).text, agent.answer);
    await agent.assertHistory("success");
    return "answered both by one exchange: the SDK's cache on disk";
  });

  row("environment", "with the variables that firman claude connect prints, and a token file", async () => {
    const agent = await Agent.connected("surrounded");
    await agent.writeToken();
    const { variables, text } = await (await program(await agent.environment())).ask();
    assert.equal(text, agent.answer);
    assert.deepEqual(variables, VARIABLES);
    await agent.assertHistory("success");
    return "answered, with the variables as printed";
  });

  row("environment", "with the token itself in ANTHROPIC_IDENTITY_TOKEN", async () => {
    const agent = await Agent.connected("told");
    const { ANTHROPIC_IDENTITY_TOKEN_FILE: _, ...env } = await agent.environment();
    const ANTHROPIC_IDENTITY_TOKEN = await agent.token();
    const running = await program({ ...env, ANTHROPIC_IDENTITY_TOKEN });
    assert.equal((await running.ask()).text, agent.answer);
    await agent.assertHistory("success");
    return "answered, with ANTHROPIC_IDENTITY_TOKEN";
  });

  row("firman exec", "inside firman exec, with nothing but what that gives", async () => {
    const agent = await Agent.connected("executed");
    const options = ["--agent", agent.name, "--key", agent.key, "--base-url", claude.url];
    const leftover = {
      ANTHROPIC_API_KEY: "sk-ant-api03-leftover",
      ANTHROPIC_AUTH_TOKEN: "leftover",
      ANTHROPIC_PROFILE: "leftover",
    };
    const running = await program({ ...firman.environment, ...leftover }, [BINARY, "exec", ...options, "--"]);
    const { text, variables } = await running.ask();
    assert.equal(text, agent.answer);
    assert.deepEqual(variables, VARIABLES);
    for (const name of Object.keys(leftover)) assert.match(running.said, new RegExp(`removed \`${name}\` `));
    assert.equal(await running.end(), 0);
    await agent.assertHistory("success");
    return "answered; a leftover API key was removed";
  });

  row("firman exec, twenty clients", "for twenty new clients in a row below firman exec", async () => {
    const agent = await Agent.connected("serial");
    const running = await program(firman.environment, agent.below());
    for (let turn = 0; turn < 20; turn++) {
      assert.equal((await running.ask("another client")).text, agent.answer);
    }
    assert.equal(await running.end(), 0);
    await agent.assertHistory(...Array(20).fill("success"));
    return "answered all twenty, each with a token of its own";
  });

  row("firman exec, twenty processes", "for twenty processes in a row below firman exec", async () => {
    const agent = await Agent.connected("processed");
    const script = 'for _ in $(seq 20); do echo ask | "$0" "$1"; done';
    const ask = fileURLToPath(new URL("ask.js", import.meta.url));
    const [command, ...args] = [...agent.below(), "sh", "-c", script, process.execPath, ask];
    const env = { ...firman.environment, HOME: await home() };
    const { stdout } = await promisify(execFile)(command, args, { env });
    const texts = stdout.trimEnd().split("\n").map((line) => JSON.parse(line).text);
    assert.deepEqual(texts, Array(20).fill(agent.answer));
    await agent.assertHistory(...Array(20).fill("success"));
    return "answered all twenty, each with a token of its own";
  });

  row("firman exec, custom headers", "inside firman exec, which removes a credential among the custom headers", async () => {
    const agent = await Agent.connected("headed");
    await agent.writeToken();
    const leftover = { ANTHROPIC_CUSTOM_HEADERS: "x-trace: 1\nauthorization: Bearer leftover" };
    const shadowed = await program({ ...(await agent.environment()), ...leftover });
    const { error, status } = await shadowed.ask();
    // The header is refused, and the SDK blames its own token: it exchanges again, what it used already.
    assert.deepEqual({ error, status }, { error: "WorkloadIdentityError", status: 401 });
    await agent.assertHistory("success", "jti_reused");
    const running = await program({ ...firman.environment, ...leftover }, agent.below());
    assert.equal((await running.ask()).text, agent.answer);
    assert.match(running.said, /removed `authorization` from `ANTHROPIC_CUSTOM_HEADERS`/);
    await agent.assertHistory("success", "jti_reused", "success");
    return "answered; outside it the header is sent instead of the token";
  });

  row("callable", "with the guide's function", async () => {
    const agent = await Agent.connected("guided");
    const bin = await home();
    await symlink(BINARY, join(bin, "firman"));
    const running = await program({
      PATH: `${bin}:${process.env.PATH}`,
      ANTHROPIC_BASE_URL: claude.url,
      ISSUER: firman.issuer,
      AGENT: agent.name,
      AGENT_KEY: agent.key,
      RULE: agent.rule,
      ORGANIZATION: claude.organization,
      SERVICE_ACCOUNT: agent.account,
    });
    assert.equal((await running.ask("function")).text, agent.answer);
    assert.equal((await running.ask("function")).text, agent.answer);
    await agent.assertHistory("success", "success");
    return "answered; the function is asked at each exchange";
  });

  row("environment", "when variables are empty, which count as unset", async () => {
    const agent = await Agent.connected("emptied");
    await agent.writeToken();
    const names = ["API_KEY", "AUTH_TOKEN", "PROFILE", "CONFIG_DIR", "WORKSPACE_ID", "IDENTITY_TOKEN"];
    const empty = Object.fromEntries(names.map((name) => [`ANTHROPIC_${name}`, ""]));
    const running = await program({ ...(await agent.environment()), ...empty });
    assert.equal((await running.ask()).text, agent.answer);
    await agent.assertHistory("success");
    return "answered; empty variables count as unset";
  });

  row("profile", "with the profile in XDG_CONFIG_HOME or ANTHROPIC_CONFIG_DIR", async () => {
    const agent = await Agent.connected("placed");
    await agent.writeToken();
    const { HOME, ANTHROPIC_PROFILE } = await agent.profile(await home());
    const config = join(HOME, ".config");
    const elsewhere = { HOME: "/nonexistent", ANTHROPIC_PROFILE };
    for (const variable of [{ XDG_CONFIG_HOME: config }, { ANTHROPIC_CONFIG_DIR: join(config, "anthropic") }]) {
      assert.equal((await (await program({ ...elsewhere, ...variable })).ask()).text, agent.answer);
    }
    await agent.assertHistory("success");
    return "answered from either directory, by one exchange";
  });

  row("401 in between", "after Claude took its token back: another exchange, and the request again", async () => {
    const first = await ClaudeSimulator.start({ adminToken: claude.adminToken });
    programs.push(first.server);
    const agent = await Agent.connected("revived", { at: first });
    await agent.watch();
    const profile = await agent.profile(await home());
    assert.equal((await (await program(profile)).ask()).text, agent.answer);
    const forced = [];
    const statuses = [];
    const client = agent.client({
      credentials: (options) => forced.push(options?.forceRefresh ?? false) && agent.provider()(options),
      fetch: async (url, options) => {
        const answer = await fetch(url, options);
        statuses.push(answer.status);
        return answer;
      },
    });
    assert.equal(await say(client), agent.answer);

    // Another simulation at the same place knows none of the tokens, and makes ids of its own.
    const second = await first.replace();
    programs.push(second.server);
    const lost = agent.account;
    await agent.connect(second);
    assert.notEqual(agent.account, lost);

    // In memory, and on disk.
    assert.equal(await say(client), agent.answer);
    assert.deepEqual({ forced, statuses }, { forced: [false, true], statuses: [200, 401, 200] });
    await agent.assertHistory("success");
    await agent.profile(profile.HOME);
    const cache = join(profile.HOME, ".config/anthropic/credentials", `${agent.name}.json`);
    const before = JSON.parse(await readFile(cache, "utf8")).access_token;
    assert.equal((await (await program(profile)).ask()).text, agent.answer);
    assert.notEqual(JSON.parse(await readFile(cache, "utf8")).access_token, before);
    await agent.assertHistory("success", "success");
    return "answered after one forced exchange, from memory and from the cache on disk";
  });
});

describe("Claude's SDK is refused", () => {
  row("callable", "when the agent is suspended, but for the token that Claude gave before", async () => {
    const agent = await Agent.connected("suspended");
    const early = agent.client();
    assert.equal(await say(early), agent.answer);
    await firman.command("agent", "suspend", agent.name);
    // What the function throws is what the caller gets.
    await assert.rejects(say(agent.client()), (error) => {
      assert.equal(error.code, 1);
      assert.match(error.stderr, /the issuer refused: .*\(invalid_client\)/);
      return true;
    });
    const options = ["--agent", agent.name, "--key", agent.key, "--base-url", claude.url];
    const running = await program(firman.environment, [BINARY, "exec", ...options, "--"]);
    assert.equal(await running.end(), 1);
    assert.match(running.said, /invalid_client/);
    await agent.assertHistory("success");
    // The guide says so: Claude's own token lives on.
    assert.equal(await say(early), agent.answer);
    await firman.command("agent", "resume", agent.name);
    assert.equal(await say(agent.client()), agent.answer);
    return "refused by firman (invalid_client) while suspended; answered once resumed";
  });

  row("token file", "when the agent is suspended and the token in the file is used up", async () => {
    const agent = await Agent.connected("halted");
    await agent.writeToken();
    const env = await agent.environment();
    assert.equal((await (await program(env)).ask()).text, agent.answer);
    await firman.command("agent", "suspend", agent.name);
    await assert.rejects(agent.writeToken(), { code: 1 });
    const { error, status } = await (await program(env)).ask();
    assert.deepEqual({ error, status }, { error: "WorkloadIdentityError", status: 401 });
    await agent.assertHistory("success", "jti_reused");
    return "refused while suspended: WorkloadIdentityError, 401";
  });

  row("callable", "by a rule for somebody else, and only Claude's history says why", async () => {
    const agent = await Agent.connected("stranger");
    const owner = await Agent.connected("owner");
    const credentials = agent.provider({ rule: owner.rule, account: owner.account });
    await assert.rejects(say(agent.client({ credentials })), (error) => {
      assert.ok(error instanceof WorkloadIdentityError);
      assert.ok(error instanceof Anthropic.AnthropicError);
      assert.equal(error.statusCode, 401);
      assert.match(error.requestId, /^req_/);
      const { error: body } = JSON.parse(error.body);
      assert.deepEqual(body, { type: "authentication_error", message: "Authentication failed" });
      assert.doesNotMatch(error.message, /match_|subject|stranger|owner/);
      return true;
    });
    await owner.assertHistory("match_subject_prefix");
    await agent.assertHistory();
    return "refused: WorkloadIdentityError, 401; the history says match_subject_prefix";
  });

  row("callable", "by the simulation with --explain, and the exception itself says why", async () => {
    const explaining = await ClaudeSimulator.start({ adminToken: claude.adminToken, options: ["--explain"] });
    try {
      const agent = await Agent.connected("explained", { at: explaining });
      const credentials = agent.provider({ account: "svac_01Another" });
      await assert.rejects(say(agent.client({ credentials })), (error) => {
        assert.ok(error instanceof WorkloadIdentityError);
        assert.match(error.message, /service_account_mismatch: .* hint: /);
        const { error: body } = JSON.parse(error.body);
        assert.deepEqual(body, { type: "authentication_error", message: "Authentication failed" });
        return true;
      });
    } finally {
      await explaining.stop();
    }
    return "refused: WorkloadIdentityError, 401; its message says service_account_mismatch";
  });

  row("environment", "when a leftover API key wins over the federation", async () => {
    const agent = await Agent.connected("shadowed");
    await agent.writeToken();
    const env = await agent.environment();
    const shadowed = await program({ ...env, ANTHROPIC_API_KEY: "sk-ant-api03-leftover" });
    const { error, status } = await shadowed.ask();
    assert.deepEqual({ error, status }, { error: "AuthenticationError", status: 401 });
    await agent.assertHistory();
    const empty = await program({ ...env, ANTHROPIC_API_KEY: "" });
    assert.equal((await empty.ask()).text, agent.answer);
    return "refused with a leftover API key, without an exchange; an empty one does no harm";
  });
});

describe("Claude's SDK goes on", () => {
  row("key rotation", "when the signing key changes: at once if the new key was published before", async () => {
    const { agent, texts, kids, announced, history, errors } = await slow.rotation();
    assert.deepEqual(texts, [agent.answer, agent.answer, agent.answer]);
    assert.equal(announced.length, 2);
    assert.notEqual(announced[0], announced[1]);
    assert.deepEqual(
      history.map(({ outcome }) => outcome),
      ["success", "success"],
    );
    // A third key that nobody could announce is refused until Claude fetches the keys again.
    assert.ok(!announced.includes(kids[2]));
    assert.equal(new Set(kids).size, 3);
    for (const error of errors) assert.equal(error.statusCode, 401);
    const refused = errors.map(() => "unknown_kid");
    await agent.assertHistory("success", "success", ...refused, "success");
    return "answered with the announced key at once, with an unannounced one within a minute";
  });

  row("refresh", "when its token expired: another exchange with another token", async () => {
    const { agent, texts, used } = await slow.expiry();
    assert.deepEqual(texts, [agent.answer, agent.answer]);
    assert.equal(used.length, 2);
    assert.notEqual(used[0], used[1]);
    await agent.assertHistory("success", "success");
    return "answered before and after the expiry, by two exchanges";
  });
});
