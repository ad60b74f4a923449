"""Starts the real firman on free loopback ports with data of its own, and speaks to its command line; and
`firman claude simulate`, the stand-in for Claude."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import requests

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("FIRMAN_BIN", REPOSITORY / "target" / "debug" / "firman"))
START_DEADLINE_SECONDS = 60
STOP_DEADLINE_SECONDS = 20
COMMAND_DEADLINE_SECONDS = 60
CONDITION_DEADLINE_SECONDS = 60
ADMIN_TOKEN = "sk-ant-oat01-the-administrator-of-the-simulation"


def free_ports(count):
    """Ports that were free a moment ago; all are held at once so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def eventually(what, condition, seconds=CONDITION_DEADLINE_SECONDS, pause=0.02):
    """Waits until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


def stop(process):
    """Ends a process that was started here, by its own handle."""
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{process.args} did not stop on SIGTERM") from None


class Firman:
    """`with Firman() as firman:` is a running issuer; leaving it stops the process that was started."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="firman-sdk-"))
        public, private = free_ports(2)
        self.issuer = f"http://127.0.0.1:{public}"
        # Nothing of the caller's environment gets in: a FIRMAN_DATABASE_URL there must not be used.
        self.environment = {
            "PATH": os.environ["PATH"],
            "FIRMAN_LISTEN": f"127.0.0.1:{public}",
            "FIRMAN_ADMIN_LISTEN": f"127.0.0.1:{private}",
            "FIRMAN_DATA_DIR": str(self.directory / "data"),
            "FIRMAN_KEYS_DIR": str(self.directory / "keys"),
        }

    def __enter__(self):
        self.log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(
            [BINARY, "serve"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            stop(self.process)
        finally:
            self.log.close()
            shutil.rmtree(self.directory)

    def _wait_until_healthy(self):
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"firman ended with {self.process.returncode}:\n{self._log_text()}")
            try:
                if requests.get(f"{self.issuer}/healthz", timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"firman did not become healthy:\n{self._log_text()}")

    def _log_text(self):
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def run(self, *arguments, environment=None):
        """Runs one firman command to its end, whatever that is."""
        return subprocess.run(
            [BINARY, *arguments],
            cwd=self.directory,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_SECONDS,
        )

    def text(self, *arguments, environment=None):
        """Runs one firman command and returns what it printed."""
        done = self.run(*arguments, environment=environment)
        if done.returncode != 0:
            raise AssertionError(
                f"firman {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def command(self, *arguments, environment=None):
        """Runs one firman command and returns the JSON that it printed."""
        return json.loads(self.text(*arguments, "--output", "json", environment=environment))

    def start(self, *arguments, environment=None, **streams):
        """Starts a firman command that goes on until it is stopped. What it says goes into the log."""
        return subprocess.Popen(
            [BINARY, *arguments],
            cwd=self.directory,
            env={**self.environment, **(environment or {})},
            **{"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log, **streams},
        )

    def file(self, name, content):
        """Writes a file that a command can read, and returns its path."""
        path = self.directory / name
        path.write_text(content)
        path.chmod(0o600)
        return str(path)


class ClaudeSimulator:
    """`with ClaudeSimulator(firman) as claude:` is a running `firman claude simulate`."""

    def __init__(self, firman):
        self.firman = firman
        self.listen = "127.0.0.1:0"

    def __enter__(self):
        self._start()
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.process.stdout.close()

    def _start(self):
        self.process = self.firman.start(
            "claude",
            "simulate",
            "--listen",
            self.listen,
            "--admin-token",
            ADMIN_TOKEN,
            "--output",
            "json",
            stdout=subprocess.PIPE,
        )
        # One line, or the end of the file when it could not start.
        said = self.process.stdout.readline()
        if not said:
            raise AssertionError(f"the simulation ended with {self.process.wait()}")
        about = json.loads(said)
        self.url, self.organization = about["url"], about["organization_id"]
        self.history_url = about["history_url"]

    def restart(self):
        """The same address, and nothing remembered: neither accounts nor rules nor the tokens it gave."""
        self.listen = self.url.removeprefix("http://")
        self.__exit__()
        self._start()

    def connect(self, agent, *options):
        """`firman claude connect --apply`: account, issuer and rule are made and linked. What it printed."""
        return self.firman.command(
            "claude",
            "connect",
            "--agent",
            agent,
            "--apply",
            "--yes",
            "--organization",
            self.organization,
            "--base-url",
            self.url,
            *options,
            environment={"ANTHROPIC_ADMIN_TOKEN": ADMIN_TOKEN},
        )

    def archive_rule(self, rule):
        """What a person does in an emergency."""
        answer = requests.post(
            f"{self.url}/v1/organizations/federation_rules/{rule}/archive",
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "anthropic-version": "2023-06-01"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text

    def takes(self, access_token):
        """Whether an access token is good for an API call."""
        answer = requests.get(
            f"{self.url}/v1/models",
            headers={"Authorization": f"Bearer {access_token}", "anthropic-version": "2023-06-01"},
            timeout=10,
        )
        return answer.status_code == 200

    def history(self):
        """The authentication history, oldest first."""
        return requests.get(self.history_url, timeout=10).json()["data"][::-1]
