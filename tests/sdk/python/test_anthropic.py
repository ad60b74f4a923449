"""Claude's own Python SDK, which knows nothing of firman, gets its messages answered with tokens of the real
binary, by each way in which it takes an identity token. Claude is `firman claude simulate`, whose answer names
the service account that the message was answered for."""

import asyncio
import base64
import json
import logging
import os
import pathlib
import platform
import queue
import re
import shlex
import subprocess
import sys
import threading
import unittest
import unittest.mock

import anthropic

from claude_agent import message
from server import BINARY, CONDITION_DEADLINE_SECONDS, ClaudeSimulator, Firman, eventually, stop

CLAUDE = "https://api.anthropic.com"
AGENT_PROGRAM = pathlib.Path(__file__).with_name("claude_agent.py")
# How long an access token of the shortest kind lives, or a key set is kept, and then some.
A_MINUTE_DEADLINE_SECONDS = 90


# --- The agents -----------------------------------------------------------------------------------


class Agent:
    """An agent that was made and connected as the guide says, and what was printed for it."""

    def __init__(self, name, *options, firman, claude, by_secret=False):
        self.name, self.firman, self.claude = name, firman, claude
        self.directory = firman.directory / name
        self.directory.mkdir()
        self.token_file = self.directory / "identity-token"
        self.credential_file = self.directory / "credential"
        registration = ("agent", "add", name, "--owner", "team-mail", "--role", "claude-user")
        if by_secret:
            added = firman.command(*registration, "--secret")
            self.credential_file.write_text(added["client_secret"])
            self.credential_file.chmod(0o600)
        else:
            firman.command(*registration, "--generate-key", str(self.credential_file))
        self.credential = ("--secret-file" if by_secret else "--key", str(self.credential_file))
        self.options = options
        self.connect()

    def connect(self):
        self.printed = self.claude.connect(
            self.name, "--token-file", str(self.token_file), *self.options
        )
        environment = self.printed["environment"]
        self.rule = environment["ANTHROPIC_FEDERATION_RULE_ID"]
        self.service_account = environment["ANTHROPIC_SERVICE_ACCOUNT_ID"]

    def printed_as(self, *options):
        """What `claude connect` prints for a person."""
        return self.firman.text(
            "claude",
            "connect",
            "--agent",
            self.name,
            "--base-url",
            self.claude.url,
            "--token-file",
            str(self.token_file),
            *self.options,
            *options,
        )

    @property
    def token_get(self):
        return (
            "token",
            "get",
            "--issuer",
            self.firman.issuer,
            "--client-id",
            self.name,
            *self.credential,
            "--resource",
            CLAUDE,
        )

    def token(self):
        """A function for the SDK that gives an identity token: it runs `firman token get`."""
        done = self.firman.run(*self.token_get)
        done.check_returncode()
        # The SDK sends what a function gives as it is, and the command ends its line.
        return done.stdout.strip()

    def write_token_file(self):
        self.firman.text(*self.token_get, "--out", str(self.token_file))

    def keep_token_file(self, test):
        """`--watch`, until the test's end."""
        watch = self.firman.start(*self.token_get, "--out", str(self.token_file), "--watch")
        test.addCleanup(stop, watch)
        eventually("the token file is there", self.token_file.exists)

    def file_is(self):
        """Which file holds the token now. Looking it up is no read."""
        status = self.token_file.stat()
        return status.st_ino, status.st_mtime_ns

    def await_other_file_than(self, before):
        eventually("another token took the read one's place", lambda: self.file_is() != before)

    @property
    def environment(self):
        """What the agent's process finds: its home, and what firman printed, nothing else."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            **self.printed["environment"],
        }

    def credentials(self, token=None):
        """For the SDK's constructor: federation by a function."""
        return anthropic.WorkloadIdentityCredentials(
            identity_token_provider=token or self.token,
            federation_rule_id=self.rule,
            organization_id=self.claude.organization,
            service_account_id=self.service_account,
        )

    def install_profile(self):
        """Puts the profile that firman prints where it says, and returns the variable that chooses it."""
        page = self.printed_as()
        title = re.search(
            r"^# Or a profile: ~/(\S+), .* and (ANTHROPIC_PROFILE)=(\S+)$", page, re.MULTILINE
        )
        profile, _ = json.JSONDecoder().raw_decode(page[title.end() :].lstrip())
        assert profile == self.printed["profile"], page
        path = self.directory / title[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(profile))
        path.chmod(0o600)
        return {title[2]: title[3]}


def client(environment, **arguments):
    """A client of the SDK in an environment of its own, and the access tokens that it sent, in order."""
    sent = []

    def note(request):
        sent.append(request.headers.get("authorization", "").removeprefix("Bearer "))

    with unittest.mock.patch.dict(os.environ, environment, clear=True):
        made = anthropic.Anthropic(
            http_client=anthropic.DefaultHttpxClient(event_hooks={"request": [note]}), **arguments
        )
        return made, sent


class AgentProcess:
    """`claude_agent.py`, running: on its own, or below another command."""

    def __init__(self, command=(), environment=None, log=subprocess.DEVNULL):
        self.process = subprocess.Popen(
            [*command, sys.executable, str(AGENT_PROGRAM)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.said = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.environment = self.answer()["environment"]

    def _listen(self):
        for line in self.process.stdout:
            self.said.put(json.loads(line))
        self.said.put({"error": "the process ended"})

    def ask(self, line="message"):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self):
        return self.said.get(timeout=CONDITION_DEADLINE_SECONDS)

    def message(self, line="message"):
        self.ask(line)
        return self.answer()

    def end(self):
        """Ends as a program ends whose input does."""
        self.process.stdin.close()
        code = self.process.wait(CONDITION_DEADLINE_SECONDS)
        self.process.stdout.close()
        return code


# --- The scene ------------------------------------------------------------------------------------


def issuer():
    """A running firman with the resource and the role that all agents need."""
    started = Firman().__enter__()
    unittest.addModuleCleanup(started.__exit__)
    started.command("resource", "add", "claude", "--profile", "claude")
    started.command("role", "add", "claude-user", "--grant", "claude")
    return started


def simulation(firman):
    started = ClaudeSimulator(firman).__enter__()
    unittest.addModuleCleanup(started.__exit__)
    return started


def setUpModule():
    global firman, claude, mailer, by_secret, suspect, archived
    firman = issuer()
    claude = simulation(firman)
    mailer = Agent("mailer", firman=firman, claude=claude)
    by_secret = Agent("filer", firman=firman, claude=claude, by_secret=True)
    suspect = Agent("suspect", firman=firman, claude=claude)
    archived = Agent("archived", firman=firman, claude=claude)
    SlowTest.begin()


# --- The table ------------------------------------------------------------------------------------

WAYS = {}


def way(name):
    """Notes which way of handing the token over a test is about."""

    def note(test):
        WAYS[test.__qualname__] = name
        return test

    return note


class Table(unittest.TextTestResult):
    """Collects one row for each test."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.rows = []

    def note(self, test, result):
        name = f"{type(test).__name__}.{getattr(test, '_testMethodName', test)}"
        sentence = name.split(".")[-1].removeprefix("test_").replace("_", " ")
        self.rows.append((WAYS.get(name, "set-up"), result, sentence))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "ok")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "FAILED")

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "FAILED")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped")

    def lines(self):
        version = f"anthropic {anthropic.__version__} (Python {platform.python_version()})"
        width = max(len(name) for name, _, _ in self.rows)
        for name, result, sentence in sorted(self.rows):
            yield f"{version} | {name:{width}} | {result:6} | {sentence}"


# --- The tests ------------------------------------------------------------------------------------


class ClaudeTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.before = {}

    def assert_answered(self, agent, text):
        self.assertEqual(text, f"simulated answer for {agent.service_account}")

    def entries(self, agent, since=0):
        """What the authentication history says of an agent's rule, oldest first: outcome, reason, jti."""
        about = [
            e for e in agent.claude.history() if e["event_data"]["federation_rule_id"] == agent.rule
        ]
        return [
            (e["status"]["outcome"], e["status"]["reason"], e["event_data"]["oidc_token"]["jti"])
            for e in about
        ][since:]

    def mark(self, agent):
        """From here on, what [`assert_exchanges`] counts."""
        self.before[agent.name] = len(self.entries(agent))

    def assert_exchanges(self, agent, *reasons):
        """Since `mark`, the history has one entry for each reason (None: a success), in that order, and no
        token was taken twice. Returns the jtis."""
        entries = self.entries(agent, self.before[agent.name])
        self.assertEqual(
            [(outcome, reason) for outcome, reason, _ in entries],
            [("denied", reason) if reason else ("success", None) for reason in reasons],
        )
        taken = [jti for outcome, _, jti in entries if outcome == "success"]
        self.assertEqual(len(set(taken)), len(taken), "each exchange with a token of its own")
        return [jti for _, _, jti in entries]

    def assert_denied(self, made):
        """The exchange is refused, and the SDK is told no more than that."""
        with self.assertRaises(anthropic.WorkloadIdentityError) as refusal:
            message(made)
        self.assertEqual(refusal.exception.status_code, 401)
        self.assertTrue(refusal.exception.request_id)
        return refusal.exception

    def process(self, **arguments):
        started = AgentProcess(**arguments, log=firman.log)
        self.addCleanup(lambda: started.process.poll() is None and started.end())
        return started


class HandOverTest(ClaudeTest):
    @way("01 function")
    def test_a_function_that_runs_token_get_lets_the_agent_in(self):
        self.mark(mailer)
        made, _ = client(
            {"HOME": str(mailer.directory)}, base_url=claude.url, credentials=mailer.credentials()
        )
        self.assert_answered(mailer, message(made))
        self.assert_answered(mailer, message(made))
        self.assert_exchanges(mailer, None)

    @way("01 function, asynchronous and streamed")
    def test_the_asynchronous_client_streams_an_answer_too(self):
        async def stream():
            async with anthropic.AsyncAnthropic(
                base_url=claude.url, credentials=mailer.credentials()
            ) as made:
                request = {"model": "claude-simulated", "max_tokens": 16}
                async with made.messages.stream(
                    **request, messages=[{"role": "user", "content": "hi"}]
                ) as answer:
                    return await answer.get_final_text()

        self.mark(mailer)
        with unittest.mock.patch.dict(os.environ, {"HOME": str(mailer.directory)}, clear=True):
            self.assert_answered(mailer, asyncio.run(stream()))
        self.assert_exchanges(mailer, None)

    @way("02 token file")
    def test_a_token_file_is_read_at_each_exchange(self):
        self.mark(by_secret)
        for _ in range(2):
            by_secret.write_token_file()
            made, _ = client(by_secret.environment)
            self.assert_answered(by_secret, message(made))
        self.assert_exchanges(by_secret, None, None)

    @way("02 token file")
    def test_a_token_file_that_nobody_renews_is_good_for_one_exchange(self):
        self.mark(by_secret)
        by_secret.write_token_file()
        made, _ = client(by_secret.environment)
        self.assert_answered(by_secret, message(made))
        other, _ = client(by_secret.environment)
        self.assert_denied(other)
        self.assert_exchanges(by_secret, None, "jti_reused", "jti_reused")

    @way("02 token file, --watch")
    def test_a_watched_token_file_is_good_for_one_exchange_after_the_other(self):
        self.mark(by_secret)
        by_secret.token_file.unlink(missing_ok=True)
        by_secret.keep_token_file(self)
        for _ in range(3):
            before = by_secret.file_is()
            made, _ = client(by_secret.environment)
            self.assert_answered(by_secret, message(made))
            by_secret.await_other_file_than(before)
        self.assert_exchanges(by_secret, None, None, None)

    @way("03 profile")
    def test_the_printed_profile_lets_the_agent_in(self):
        self.mark(mailer)
        mailer.write_token_file()
        chosen = mailer.install_profile()
        bare = {"HOME": str(mailer.directory)}
        made, _ = client({**bare, **chosen})
        self.assert_answered(mailer, message(made))
        # Elsewhere than at home, and named to the constructor.
        configs = {"ANTHROPIC_CONFIG_DIR": str(mailer.directory / ".config" / "anthropic")}
        made, _ = client({"HOME": "/nonexistent", **configs}, profile=chosen["ANTHROPIC_PROFILE"])
        self.assert_answered(mailer, message(made))
        self.assert_exchanges(mailer, None)

    @way("04 environment")
    def test_the_printed_environment_lets_the_agent_in(self):
        self.mark(mailer)
        mailer.write_token_file()
        block = mailer.directory / "environment"
        block.write_text(mailer.printed_as("--format", "env"))
        script = f'set -a; . {shlex.quote(str(block))}; set +a; exec "$@"'
        started = self.process(
            command=("/bin/sh", "-c", script, "sh"),
            environment={"PATH": os.environ["PATH"], "HOME": str(mailer.directory)},
        )
        self.assertEqual(started.environment, mailer.printed["environment"])
        self.assert_answered(mailer, started.message().get("text"))
        self.assertEqual(started.end(), 0)
        self.assert_exchanges(mailer, None)

    @way("04 environment, literal token")
    def test_a_token_in_the_environment_lets_the_agent_in_once(self):
        self.mark(mailer)
        environment = {**mailer.environment, "ANTHROPIC_IDENTITY_TOKEN": mailer.token()}
        del environment["ANTHROPIC_IDENTITY_TOKEN_FILE"]
        started = self.process(environment=environment)
        self.assert_answered(mailer, started.message().get("text"))
        again = started.message("another client")
        request_id = again.pop("request_id")
        self.assertEqual(again, {"error": "WorkloadIdentityError", "status": 401})
        self.assert_exchanges(mailer, None, "jti_reused", "jti_reused")
        # One refusal is two entries of the history, and the error names the last.
        self.assertEqual(request_id, claude.history()[-1]["request_id"])

    @way("10 firman exec")
    def test_below_exec_the_agent_needs_nothing_else_and_a_leftover_key_is_gone(self):
        self.mark(mailer)
        leftover = {"ANTHROPIC_API_KEY": "sk-ant-api03-leftover", "ANTHROPIC_AUTH_TOKEN": "leftover"}
        started = self.process(
            command=(
                BINARY,
                "exec",
                "--agent",
                mailer.name,
                *mailer.credential,
                "--base-url",
                claude.url,
                "--",
            ),
            environment={**firman.environment, "HOME": str(mailer.directory), **leftover},
        )
        token_file = pathlib.Path(started.environment["ANTHROPIC_IDENTITY_TOKEN_FILE"])
        self.assertEqual(
            started.environment,
            {**mailer.printed["environment"], "ANTHROPIC_IDENTITY_TOKEN_FILE": str(token_file)},
        )
        self.assertNotEqual(token_file, mailer.token_file)
        first = token_file.stat()
        self.assert_answered(mailer, started.message().get("text"))
        eventually(
            "another token took the place of the one that was read",
            lambda: (
                (now := token_file.stat())
                and (now.st_ino, now.st_mtime_ns) != (first.st_ino, first.st_mtime_ns)
            ),
        )
        self.assert_answered(mailer, started.message("another client").get("text"))
        self.assert_exchanges(mailer, None, None)
        self.assertEqual(started.end(), 0)
        self.assertFalse(token_file.exists())

    def below_exec(self, agent, *command, **variables):
        exec = (BINARY, "exec", "--agent", agent.name, *agent.credential, "--base-url", claude.url)
        environment = {**firman.environment, "HOME": str(agent.directory), **variables}
        return {"command": (*exec, "--", *command), "environment": environment}

    @way("10 firman exec, twenty clients")
    def test_twenty_new_clients_in_a_row_below_exec_are_all_answered(self):
        self.mark(mailer)
        started = self.process(**self.below_exec(mailer))
        for _ in range(20):
            self.assert_answered(mailer, started.message("another client").get("text"))
        self.assertEqual(started.end(), 0)
        self.assert_exchanges(mailer, *[None] * 20)

    @way("10 firman exec, twenty processes")
    def test_twenty_processes_in_a_row_below_exec_are_all_answered(self):
        self.mark(mailer)
        script = 'for _ in $(seq 20); do echo message | "$0" "$1"; done'
        below = self.below_exec(mailer, "sh", "-c", script, sys.executable, str(AGENT_PROGRAM))
        done = subprocess.run(
            below["command"], env=below["environment"], stdout=subprocess.PIPE, text=True
        )
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        texts = [outcome.get("text") for outcome in outcomes if "environment" not in outcome]
        self.assertEqual(len(texts), 20)
        for text in texts:
            self.assert_answered(mailer, text)
        self.assert_exchanges(mailer, *[None] * 20)

    @way("10 firman exec, custom headers")
    def test_below_exec_a_credential_among_the_custom_headers_is_gone(self):
        leftover = {"ANTHROPIC_CUSTOM_HEADERS": "x-trace: 1\nX-Api-Key: sk-ant-api03-leftover"}
        self.mark(mailer)
        started = self.process(**self.below_exec(mailer, **leftover))
        self.assertEqual(started.environment["ANTHROPIC_CUSTOM_HEADERS"], "x-trace: 1")
        self.assert_answered(mailer, started.message().get("text"))
        self.assert_exchanges(mailer, None)
        # Without exec it wins, and nothing is exchanged.
        mailer.write_token_file()
        made, _ = client({**mailer.environment, **leftover})
        with unittest.mock.patch.dict(os.environ, {**mailer.environment, **leftover}, clear=True):
            with self.assertRaises(anthropic.AuthenticationError):
                message(made)
        self.assert_exchanges(mailer, None)

    @way("10 without exec, a leftover key")
    def test_elsewhere_a_leftover_key_wins_and_no_token_is_exchanged(self):
        self.mark(mailer)
        mailer.write_token_file()
        made, _ = client({**mailer.environment, "ANTHROPIC_API_KEY": "sk-ant-api03-leftover"})
        with self.assertRaises(anthropic.AuthenticationError) as refusal:
            message(made)
        self.assertEqual(refusal.exception.status_code, 401)
        self.assert_exchanges(mailer)


class SharingTest(ClaudeTest):
    @way("07 profile, two processes")
    def test_two_processes_that_share_a_profile_need_one_exchange(self):
        sharer = Agent("sharer", firman=firman, claude=claude)
        self.mark(sharer)
        sharer.write_token_file()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(sharer.directory),
            **sharer.install_profile(),
        }
        one, two = self.process(environment=environment), self.process(environment=environment)
        for started in (one, two, one, two):
            self.assert_answered(sharer, started.message().get("text"))
        self.assert_exchanges(sharer, None)

    @way("07 token file, --watch, two processes")
    def test_two_processes_that_share_a_watched_file_get_a_token_each(self):
        self.mark(mailer)
        mailer.token_file.unlink(missing_ok=True)
        mailer.keep_token_file(self)
        one, two = (
            self.process(environment=mailer.environment),
            self.process(environment=mailer.environment),
        )
        for line in ("message", "another client"):
            for started in (one, two):
                before = mailer.file_is()
                self.assert_answered(mailer, started.message(line).get("text"))
                mailer.await_other_file_than(before)
        self.assert_exchanges(mailer, None, None, None, None)

    @way("07 token file, --watch, two at once")
    def test_two_processes_that_read_at_once_both_get_in_and_never_with_the_same_token(self):
        self.mark(mailer)
        mailer.token_file.unlink(missing_ok=True)
        mailer.keep_token_file(self)
        both = [self.process(environment=mailer.environment) for _ in range(2)]
        for started in both:
            started.ask()
        for started in both:
            answer = started.answer()
            # Who read what the other one had read is refused, and tries again as any program would.
            tries = 1
            while "text" not in answer and tries < 5:
                self.assertEqual(answer, {"error": "WorkloadIdentityError", "status": 401})
                answer, tries = started.message(), tries + 1
            self.assert_answered(mailer, answer.get("text"))
        entries = self.entries(mailer, self.before[mailer.name])
        taken = [jti for outcome, _, jti in entries if outcome == "success"]
        self.assertEqual(len(taken), 2)
        self.assertEqual(len(set(taken)), 2)
        self.assertLessEqual({reason for _, reason, _ in entries}, {None, "jti_reused"})


class EnvironmentTest(ClaudeTest):
    """What the guide says of the variables and directories that this SDK reads."""

    @way("12 a function in the agent's own code")
    def test_the_guides_function_is_asked_at_each_exchange(self):
        (mailer.directory / "firman").symlink_to(BINARY)
        self.mark(mailer)
        started = self.process(
            environment={
                "PATH": f"{mailer.directory}:{os.environ['PATH']}",
                "HOME": str(mailer.directory),
                "ANTHROPIC_BASE_URL": claude.url,
                "ISSUER": firman.issuer,
                "AGENT": mailer.name,
                "AGENT_KEY": str(mailer.credential_file),
                "RULE": mailer.rule,
                "ORGANIZATION": claude.organization,
                "SERVICE_ACCOUNT": mailer.service_account,
            }
        )
        for _ in range(2):
            self.assert_answered(mailer, started.message("function").get("text"))
        self.assert_exchanges(mailer, None, None)

    @way("12 empty variables")
    def test_an_empty_variable_counts_as_unset(self):
        self.mark(mailer)
        mailer.write_token_file()
        empty = ("API_KEY", "AUTH_TOKEN", "PROFILE", "CONFIG_DIR", "WORKSPACE_ID", "IDENTITY_TOKEN")
        environment = {**mailer.environment, **{f"ANTHROPIC_{name}": "" for name in empty}}
        with unittest.mock.patch.dict(os.environ, environment, clear=True):
            self.assert_answered(mailer, message(anthropic.Anthropic()))
        self.assert_exchanges(mailer, None)

    @way("12 directories")
    def test_the_profile_is_found_by_config_dir_and_not_by_xdg_config_home(self):
        self.mark(mailer)
        variable = mailer.install_profile()
        config = mailer.directory / ".config" / "anthropic"
        elsewhere = {"ANTHROPIC_CONFIG_DIR": str(config), "HOME": "/nonexistent", **variable}
        mailer.write_token_file()
        made, _ = client(elsewhere)
        self.assert_answered(mailer, message(made))
        (config / "credentials" / f"{mailer.name}.json").unlink()
        xdg = {"XDG_CONFIG_HOME": str(config.parent), "HOME": "/nonexistent", **variable}
        with self.assertRaises(anthropic.AnthropicError):
            client(xdg)
        self.assert_exchanges(mailer, None)


class RefusalTest(ClaudeTest):
    @way("08 suspended agent")
    def test_a_suspended_agent_gets_no_token_by_any_way(self):
        def refuse(asked):
            asked.append("token")
            raise anthropic.CredentialsError(firman.run(*suspect.token_get).stderr)

        bare = {"HOME": "/nonexistent"}
        self.mark(suspect)
        suspect.write_token_file()
        in_time, _ = client(suspect.environment)
        self.assert_answered(suspect, message(in_time))
        firman.command("agent", "suspend", suspect.name)

        # A function. Claude is not even asked; what the function raises is the cause of what the SDK raises.
        made, _ = client(bare, base_url=claude.url, credentials=suspect.credentials(), max_retries=0)
        with self.assertRaises(anthropic.APIConnectionError) as wrapped:
            message(made)
        cause = wrapped.exception.__cause__
        self.assertIsInstance(cause, subprocess.CalledProcessError)
        self.assertEqual((cause.returncode, cause.stdout), (1, ""))
        self.assertIn("invalid_client", cause.stderr)
        # An error of the SDK's own kind comes out as it is, and nothing is tried again.
        asked = []
        made, _ = client(
            bare, base_url=claude.url, credentials=suspect.credentials(lambda: refuse(asked))
        )
        with self.assertRaisesRegex(anthropic.CredentialsError, "invalid_client"):
            message(made)
        self.assertEqual(len(asked), 1)
        # A file: the token there was used, and there is no other.
        made, _ = client(suspect.environment)
        self.assert_denied(made)
        # exec: the command is not run.
        below = firman.run(
            "exec", "--agent", suspect.name, *suspect.credential, "--", "/bin/echo", "it runs"
        )
        self.assertEqual((below.returncode, below.stdout), (1, ""))
        # The access token that it had is Claude's to end.
        self.assert_answered(suspect, message(in_time))
        self.assert_exchanges(suspect, None, "jti_reused", "jti_reused")

        firman.command("agent", "resume", suspect.name)
        suspect.write_token_file()
        self.assert_answered(suspect, message(made))

    @way("08 suspended agent, archived rule")
    def test_an_unused_token_of_a_suspended_agent_is_refused_once_its_rule_is_archived(self):
        self.mark(archived)
        archived.write_token_file()
        firman.command("agent", "suspend", archived.name)
        claude.archive_rule(archived.rule)
        made, _ = client(archived.environment)
        self.assert_denied(made)
        self.assert_exchanges(archived, "rule_archived", "rule_archived")

    @way("11 another agent's rule")
    def test_a_rule_of_another_agent_is_refused_and_only_the_history_says_why(self):
        self.mark(by_secret)
        mailer.write_token_file()
        environment = {**mailer.environment, "ANTHROPIC_FEDERATION_RULE_ID": by_secret.rule}
        made, _ = client({**environment, "ANTHROPIC_SERVICE_ACCOUNT_ID": by_secret.service_account})
        self.assert_opaque(self.assert_denied(made), "match_subject_prefix")
        self.assert_exchanges(by_secret, "match_subject_prefix", "match_subject_prefix")

    @way("11 another service account")
    def test_a_service_account_of_another_rule_is_refused_and_only_the_history_says_why(self):
        self.mark(mailer)
        mailer.write_token_file()
        made, _ = client(
            {**mailer.environment, "ANTHROPIC_SERVICE_ACCOUNT_ID": by_secret.service_account}
        )
        self.assert_opaque(self.assert_denied(made), "service_account_mismatch")
        self.assert_exchanges(mailer, "service_account_mismatch", "service_account_mismatch")

    @way("11 wrong workspace")
    def test_a_workspace_that_the_rule_is_not_for_is_refused_and_only_the_history_says_why(self):
        self.mark(mailer)
        mailer.write_token_file()
        made, _ = client({**mailer.environment, "ANTHROPIC_WORKSPACE_ID": "wrkspc_01Elsewhere"})
        self.assert_opaque(self.assert_denied(made), "workspace_not_allowed")
        self.assert_exchanges(mailer, "workspace_not_allowed", "workspace_not_allowed")
        # A refusal does not use the token up.
        made, _ = client({**mailer.environment, "ANTHROPIC_WORKSPACE_ID": "default"})
        self.assert_answered(mailer, message(made))

    @way("11 unknown rule")
    def test_an_unknown_rule_is_refused_and_the_console_has_no_entry(self):
        mailer.write_token_file()
        made, _ = client({**mailer.environment, "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_01Nowhere"})
        self.assert_opaque(self.assert_denied(made), "rule_unknown")
        entry = claude.history()[-1]
        self.assertEqual((entry["status"]["reason"], entry["in_console"]), ("rule_unknown", False))

    def assert_opaque(self, error, reason):
        """Neither the reason nor anything of the body; but the request, by which the history is searched."""
        self.assertNotIn(reason, f"{error} {error.body}")
        self.assertEqual(
            error.body, {"error": {"type": "authentication_error", "message": "Authentication failed"}}
        )
        latest = claude.history()[-1]
        self.assertEqual((latest["request_id"], latest["status"]["reason"]), (error.request_id, reason))


class RetryTest(ClaudeTest):
    @way("06 401 retry")
    def test_an_access_token_that_claude_no_longer_takes_is_dropped_and_the_request_sent_again(self):
        # With a simulation of its own, which is restarted and so knows none of the tokens that it gave.
        forgetful = simulation(firman)
        returner = Agent("returner", firman=firman, claude=forgetful)
        returner.write_token_file()
        environment = {"HOME": str(returner.directory), **returner.install_profile()}
        made, sent = client(environment)
        self.assert_answered(returner, message(made))
        (old,) = sent

        forgetful.restart()
        account_before = returner.service_account
        returner.connect()
        self.assertNotEqual(returner.service_account, account_before)
        returner.write_token_file()
        returner.install_profile()
        self.mark(returner)
        # A program that has run since then knows only the old rule.
        self.assert_denied(made)
        self.assertEqual(forgetful.history()[-1]["status"]["reason"], "rule_unknown")
        # A new process of the agent finds the old access token beside the profile: it looks good.
        made, sent = client(environment)
        self.assert_answered(returner, message(made))
        self.assertEqual((len(sent), sent[0]), (2, old))
        self.assertNotEqual(sent[1], old)
        self.assert_exchanges(returner, None)
        # And what came of it is kept for the next one.
        following, sent = client(environment)
        self.assert_answered(returner, message(following))
        self.assertNotIn(old, sent)
        self.assert_exchanges(returner, None)


class SlowTest(ClaudeTest):
    """What takes a minute by the real clock: begun before all other tests, finished after them."""

    @classmethod
    def begin(cls):
        shortest = ("--token-lifetime", "60s")
        cls.refreshed = Agent("refreshed", *shortest, firman=firman, claude=claude)
        cls.refreshed_watch = firman.start(
            *cls.refreshed.token_get, "--out", str(cls.refreshed.token_file), "--watch"
        )
        unittest.addModuleCleanup(stop, cls.refreshed_watch)
        eventually("the token file is there", cls.refreshed.token_file.exists)
        cls.unrefreshed = Agent("unrefreshed", *shortest, firman=firman, claude=claude)
        cls.unrefreshed.write_token_file()
        # An issuer of its own: Claude fetches the keys of this one, and they are rotated.
        cls.rotating = issuer()
        cls.discovering = simulation(cls.rotating)
        by_discovery = ("--discovery-base", cls.rotating.issuer)
        cls.rotated = Agent("rotated", *by_discovery, firman=cls.rotating, claude=cls.discovering)

        cls.refreshed_client, cls.refreshed_sent = client(cls.refreshed.environment)
        cls.unrefreshed_client, cls.unrefreshed_sent = client(cls.unrefreshed.environment)
        cls.answers = {}
        # Twice each: an access token of a minute is to be renewed from its birth on.
        file = cls.refreshed.file_is()
        cls.answers["refreshed"] = [message(cls.refreshed_client)]
        cls.refreshed.await_other_file_than(file)
        file = cls.refreshed.file_is()
        cls.answers["refreshed"].append(message(cls.refreshed_client))
        cls.refreshed.await_other_file_than(file)
        cls.answers["unrefreshed"] = [message(cls.unrefreshed_client)]
        with unittest.TestCase().assertLogs("anthropic", logging.WARNING) as log:
            cls.answers["unrefreshed"].append(message(cls.unrefreshed_client))
        cls.unrefreshed_log = log.output
        cls.rotate()

    @classmethod
    def client_of_rotated(cls, token=None):
        """A new client with a new token, or with that one; and the token's key."""
        token = token or cls.rotated.token()
        credentials = cls.rotated.credentials(lambda: token)
        made, _ = client({"HOME": "/nonexistent"}, base_url=cls.discovering.url, credentials=credentials)
        return made, kid(token)

    @classmethod
    def rotate(cls):
        """Exchanges by three keys: one that signed all along, one that was published before it signs, as all
        are, and one that signs at once, which only the withdrawal of a key can bring about."""
        cls.rotating.command("key", "rotate", "--algorithm", "ES256")
        keys = cls.rotating.command("key", "list")["items"]
        of_state = {key["state"]: key["kid"] for key in keys if key["algorithm"] == "ES256"}
        cls.kids = [of_state["active"], of_state["prepared"]]

        made, signed_by = cls.client_of_rotated()
        cls.exchanged = [(message(made), signed_by)]
        cls.left_over = cls.rotated.token()
        cls.activated = cls.rotating.run("key", "activate", cls.kids[1], "--output", "json")

        cls.rotating.command("key", "revoke", cls.kids[0], "--reason", "it leaked", "--yes")
        made, signed_by = cls.client_of_rotated()
        cls.exchanged.append((message(made), signed_by))

        withdrawn = cls.rotating.command(
            "key", "revoke", cls.kids[1], "--reason", "it leaked too", "--yes"
        )
        cls.kids.append(withdrawn["active"]["kid"])
        made, _ = cls.client_of_rotated()
        with unittest.TestCase().assertRaises(anthropic.WorkloadIdentityError) as refusal:
            message(made)
        cls.too_early = refusal.exception

    @way("05 refresh near the end")
    def test_an_access_token_near_its_end_is_renewed_while_it_lives(self):
        for text in self.answers["refreshed"]:
            self.assert_answered(self.refreshed, text)
        self.assertEqual(len(set(self.refreshed_sent[:2])), 2)

    @way("05 refresh after expiry")
    def test_an_access_token_that_has_ended_is_renewed_before_the_request(self):
        last = self.refreshed_sent[1]
        eventually("it has ended", lambda: not claude.takes(last), A_MINUTE_DEADLINE_SECONDS)
        self.assert_answered(self.refreshed, message(self.refreshed_client))
        self.assertEqual(len(set(self.refreshed_sent)), 3, "and never sent once it had ended")
        self.before[self.refreshed.name] = 0
        self.assert_exchanges(self.refreshed, None, None, None)

    @way("05 refresh without a new token")
    def test_without_a_new_token_the_access_token_serves_until_its_end_and_then_no_more(self):
        for text in self.answers["unrefreshed"]:
            self.assert_answered(self.unrefreshed, text)
        self.assertEqual(len(self.unrefreshed_sent), 2)
        (last,) = set(self.unrefreshed_sent)
        self.assertIn("serving cached token", "".join(self.unrefreshed_log))
        eventually("it has ended", lambda: not claude.takes(last), A_MINUTE_DEADLINE_SECONDS)
        self.assert_denied(self.unrefreshed_client)
        self.before[self.unrefreshed.name] = 0
        self.assert_exchanges(self.unrefreshed, None, *["jti_reused"] * 4)
        self.unrefreshed.write_token_file()
        self.assert_answered(self.unrefreshed, message(self.unrefreshed_client))

    @way("09 rotation")
    def test_a_token_of_the_next_key_is_answered_because_claude_has_seen_it_before_it_signed(self):
        self.assertEqual([signed_by for _, signed_by in self.exchanged], self.kids[:2])
        self.assertNotEqual(*self.kids[:2])
        for text, _ in self.exchanged:
            self.assert_answered(self.rotated, text)
        # Nobody can make it sign before that, but by withdrawing the other one.
        self.assertEqual(self.activated.returncode, 1)
        self.assertEqual(json.loads(self.activated.stderr)["error"]["status"], 409)

    @way("09 rotation, a key withdrawn")
    def test_a_key_that_had_to_sign_at_once_is_refused_until_claude_fetches_the_keys_again(self):
        answered_by = []

        def answered():
            made, signed_by = self.client_of_rotated()
            answered_by[:] = [signed_by]
            try:
                return message(made)
            except anthropic.WorkloadIdentityError as refusal:
                self.assertEqual(refusal.status_code, 401)

        self.assertEqual(self.too_early.status_code, 401)
        text = eventually(
            "Claude has fetched the keys again", answered, A_MINUTE_DEADLINE_SECONDS, pause=1
        )
        self.assert_answered(self.rotated, text)
        self.assertEqual(answered_by, [self.kids[2]])
        # What the withdrawn key had signed is worth nothing from now on.
        made, signed_by = self.client_of_rotated(self.left_over)
        self.assertEqual(signed_by, self.kids[0])
        self.assert_denied(made)

        outcomes = [entry[:2] for entry in self.entries(self.rotated)]
        answered, unknown = ("success", None), ("denied", "unknown_kid")
        self.assertEqual(outcomes[:4], [answered, answered, unknown, unknown])
        self.assertEqual(outcomes[-3:], [answered, unknown, unknown])
        self.assertEqual(set(outcomes[4:-3]) - {unknown}, set())


def kid(token):
    header = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]


if __name__ == "__main__":
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Table)
    result = unittest.main(testRunner=runner, exit=False).result
    print(*result.lines(), sep="\n")
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped")
    sys.exit(0 if result.wasSuccessful() else 1)
