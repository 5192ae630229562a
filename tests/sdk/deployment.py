"""Deployments of llm-proxy as real processes: a simulated provider, and in front of it one process (`serve`), three on a
real nats-server (`split`), where answers hold what breaks careless readers, or one that holds the status of its answers
open (`holding`), where the provider is slow to begin."""

import contextlib
import json
import os
import pathlib
import random
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid

import openai

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("LLM_PROXY") or str(ROOT / "target/debug/llm-proxy")
KEY = "sk-sdk-tests-" + secrets.token_hex(8)

# Generous on purpose: they end a wait that would never end, and no test gets slower by them.
START_SECONDS = 90
SETTLE_SECONDS = 60
STOP_SECONDS = 60

SEALING = ["--window", "300ms", "--idle", "100ms"]
POLLING = ["--poll-min", "100ms", "--poll-max", "500ms"]
# Lines that fail on purpose are told at once.
TOLD = ["--line-retries", "0"]
QUICK_PROVIDER = ["--batch-time", "200ms", "--finalize-time", "50ms"]
QUICK_TO_BEGIN = ["--validate-time", "50ms"]
# The upstreams that have a name, and where the simulator plays each.
UPSTREAMS = {
    "azure": "/azure/openai/v1",
    "compat": "/compat/v1",
    "groq": "/groq/openai/v1",
    "mistral": "/mistral/v1",
    "openrouter": "/openrouter/api/v1",
    "together": "/together/v1",
    "xai": "/xai/v1",
}
# Longer than the limits of the clients in the tests.
SLOW_TO_BEGIN = ["--validate-time", "5s"]


def marker():
    """A text that no other call has, for the simulator's `echo:`; its ledger tells calls apart by it."""
    return "m-" + uuid.uuid4().hex


def free_ports(count):
    """Different ports that are free now, of those that outgoing connections do not take."""
    free = []
    with contextlib.ExitStack() as held:
        while len(free) < count:
            port = random.randrange(15_000, 32_000)
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                free.append(port)
    return free


def poll(what, seconds, probe):
    """Asks `probe` until it gives something true; raises with the latest exception or answer after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            latest = probe()
            if latest:
                return latest
        except (OSError, openai.APIError) as error:
            latest = error
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s, latest: {latest!r}")
        time.sleep(0.05)


class Process:
    """A running program that writes its log to a file."""

    def __init__(self, name, command, folder, env):
        self.name = name
        self.log = pathlib.Path(folder) / f"{name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

    def stop(self):
        """SIGTERM; returns the exit code, or None when it had to be killed."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def log_text(self):
        return self.log.read_text(errors="replace")


class Deployment:
    """A proxy and a simulated provider; `with` starts and stops them."""

    def __init__(self, kind):
        self.kind = kind
        self._processes = []
        self._running = []
        provider, proxy, nats = free_ports(3)
        self.provider_url = f"http://127.0.0.1:{provider}"
        self.proxy_url = f"http://127.0.0.1:{proxy}"
        # Where clients of all APIs go that put the version into the path themselves.
        self.origin = self.proxy_url
        self.base_url = f"{self.origin}/v1"
        self._nats_port = nats
        self._folder = tempfile.TemporaryDirectory(prefix=f"llm-proxy-{kind}-")
        # Settings of the machine must not become part of the deployment.
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("LLM_PROXY")}
        self._env["LLM_PROXY_CLUSTER_SECRET"] = secrets.token_hex(32)

    def __enter__(self):
        try:
            self._start()
            self._wait()
        except BaseException as error:
            self.stop()
            logs = "\n".join(f"--- {name}\n{text}" for name, text in self.logs())
            self._folder.cleanup()
            raise RuntimeError(f"{self.kind} does not start: {error}\n{logs}") from error
        return self

    def __exit__(self, *_):
        self.stop()
        self._folder.cleanup()

    def _start(self):
        provider, proxy = (url.removeprefix("http://") for url in (self.provider_url, self.proxy_url))
        upstream = ["--openai-url", f"{self.provider_url}/v1"]
        upstream += ["--anthropic-url", self.provider_url, "--gemini-url", self.provider_url]
        config = ["--config", self._config()]
        upstream += config
        begin = SLOW_TO_BEGIN if self.kind == "holding" else QUICK_TO_BEGIN
        odd = ["--awkward-answers"] if self.kind == "split" else []
        self._spawn("simulator", "--listen", provider, *QUICK_PROVIDER, *begin, *odd)
        if self.kind != "split":
            holding = ["--hold-status"] if self.kind == "holding" else []
            self._spawn("serve", "--listen", proxy, *upstream, *SEALING, *POLLING, *TOLD, *holding)
            return
        nats_server = subprocess.check_output([ROOT / "scripts/nats-server.sh"], text=True).strip()
        nats = ["--nats", f"nats://127.0.0.1:{self._nats_port}"]
        address = ["--addr", "127.0.0.1", "--port", str(self._nats_port)]
        self._run("nats-server", nats_server, *address)
        self._spawn("batcher", *nats, *SEALING, *config)
        self._spawn("submitter", *nats, *upstream, *POLLING)
        self._spawn("ingress", "--listen", proxy, *nats, *upstream, *TOLD)

    def _config(self):
        """The file that names the other upstreams."""
        tables = [f'[upstreams.{name}]\nbase_url = "{self.provider_url}{path}"\n' for name, path in UPSTREAMS.items()]
        file = pathlib.Path(self._folder.name) / "upstreams.toml"
        # Batches of Azure's have deployments of their own.
        names = '[upstreams.azure.models]\n"gpt-4o" = "gpt-4o-batch"\n'
        file.write_text("".join([*tables, names]))
        return file

    def base_url_of(self, upstream):
        """The base URL of an upstream by its name, or without one."""
        return f"{self.origin}/{upstream}/v1" if upstream else self.base_url

    def _spawn(self, role, *args):
        self._run(role, PROGRAM, role, *args)

    def _run(self, name, *command):
        process = Process(name, command, self._folder.name, self._env)
        self._processes.append(process)
        self._running.append(process)

    def _wait(self):
        """Until a call goes all the way through."""
        poll("/readyz", START_SECONDS, lambda: self._get(f"{self.proxy_url}/readyz"))
        text = marker()
        client = openai.OpenAI(base_url=self.base_url, api_key=KEY, max_retries=0, timeout=START_SECONDS)
        messages = [{"role": "user", "content": f"echo:{text}"}]
        answer = poll(
            "first call",
            START_SECONDS,
            lambda: client.chat.completions.create(model="gpt-4o-mini", messages=messages),
        )
        assert answer.choices[0].message.content == text

    def _get(self, url):
        for process in self._processes:
            if process.child.poll() is not None:
                raise RuntimeError(f"{process.name} has ended with {process.child.returncode}")
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    def state(self):
        """What the simulated provider knows now."""
        return json.loads(self._get(f"{self.provider_url}/_sim/state"))

    def lines(self):
        """The lines and calls that the simulated provider has executed, by their markers."""
        ledger = json.loads(self._get(f"{self.provider_url}/_sim/ledger?limit=1000000"))
        by_marker = {}
        for entry in ledger["entries"]:
            by_marker.setdefault(entry["marker"], []).append(entry)
        return by_marker

    def settled_state(self):
        """The same when no batch is active and no file is left, or after a long wait as it is then."""
        with contextlib.suppress(TimeoutError):
            poll("no work left", SETTLE_SECONDS, lambda: not self._unfinished(self.state()))
        return self.state()

    @staticmethod
    def _unfinished(state):
        return state["files_left"] or state["batches_active"]

    def stop(self):
        """Stops everything, callers' side first; returns the exit codes of llm-proxy's processes, a second time none."""
        running, self._running = self._running, []
        codes = {process.name: process.stop() for process in reversed(running)}
        # How nats-server ends is its own affair.
        codes.pop("nats-server", None)
        return codes

    def logs(self):
        """Name and log of every process."""
        return [(process.name, process.log_text()) for process in self._processes]
