"""Starts the real firman on free loopback ports with data of its own, and speaks to its command line."""

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


def free_ports(count):
    """Ports that were free a moment ago; all are held at once so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


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
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("firman did not stop on SIGTERM") from None
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

    def command(self, *arguments):
        """Runs one firman command and returns the JSON that it printed."""
        done = subprocess.run(
            [BINARY, *arguments, "--output", "json"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_SECONDS,
        )
        if done.returncode != 0:
            raise AssertionError(f"firman {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def file(self, name, content):
        """Writes a file that a command can read, and returns its path."""
        path = self.directory / name
        path.write_text(content)
        return str(path)
