"""`llm-proxy run`: scripts that know nothing of llm-proxy, with and without a terminal."""

import fcntl
import json
import os
import pty
import subprocess
import sys
import tempfile
import termios
import urllib.request

import pytest
from deployment import (
    KEY,
    POLLING,
    PROGRAM,
    QUICK_PROVIDER,
    QUICK_TO_BEGIN,
    SEALING,
    START_SECONDS,
    UPSTREAMS,
    Process,
    free_ports,
    marker,
    poll,
)
from matrix import FOREIGN, HERE, KEYS, OPENAI2

RUN = [PROGRAM, "run", *SEALING, *POLLING]
PYTHON = [*RUN, "--", sys.executable, "-c"]

# Two SDKs, each as its documentation shows it.
SCRIPT = """
import sys, anthropic, openai

for text in sys.argv[1:]:
    messages = [{"role": "user", "content": text}]
    print(openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content)
    asked = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": messages}
    print(anthropic.Anthropic().messages.create(**asked).content[0].text)
"""

# Says how often it was interrupted, after it had time to be. Apart from the others of its terminal it is only by those who mean it.
INTERRUPTED = """
import os, signal, sys, time

seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
if apart := "apart" in sys.argv:
    os.setpgid(0, 0)
print("ready", flush=True)
while not (seen or apart):
    time.sleep(0.01)
end = time.monotonic() + 0.5
while time.monotonic() < end:
    time.sleep(0.01)
print(f"interrupted {len(seen)} times")
raise SystemExit(7)
"""


@pytest.fixture
def env(places):
    """The variables of a user whose providers are at the simulator, with a key that is not rationed for others' jobs."""
    return places | {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": f"sk-ant-{KEY}-{marker()}"}


@pytest.fixture(scope="module")
def places():
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LLM_PROXY", "GOOGLE_", *FOREIGN))}
    with tempfile.TemporaryDirectory(prefix="llm-proxy-run-") as folder:
        command = [PROGRAM, "simulator", "--listen", f"127.0.0.1:{port}", *QUICK_PROVIDER, *QUICK_TO_BEGIN]
        provider = Process("simulator", command, folder, own)
        try:
            poll("the simulator", START_SECONDS, lambda: urllib.request.urlopen(f"{url}/_sim/state", timeout=10))
            places = {"OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url, "GOOGLE_GEMINI_BASE_URL": url}
            yield own | places
        finally:
            provider.stop()


class Terminal:
    """A command whose standard streams are a terminal of its own."""

    def __init__(self, command, env):
        self.main, end = pty.openpty()
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), end)

        def attach():
            fcntl.ioctl(end, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=attach, **streams)
        os.close(end)
        self.shown = ""

    def until(self, text):
        while text not in self.shown:
            assert self._read(), self.shown

    def end(self):
        while self._read():
            pass
        os.close(self.main)
        return self.child.wait()

    def _read(self):
        try:
            read = os.read(self.main, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.shown += read.decode()
        return bool(read)


def test_a_script_gets_its_answers_and_its_output_is_its_own(env):
    text = marker()
    ran = subprocess.run([*PYTHON, SCRIPT, f"echo:{text}"], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{text}\n{text}\n"
    assert "2 answered, 0 failed" in ran.stderr
    assert "in batch" not in ran.stderr and "\x1b" not in ran.stderr


def test_a_terminal_shows_how_far_it_is(env):
    text = marker()
    terminal = Terminal([*PYTHON, SCRIPT, f"echo:{text} slow:800"], env | {"TERM": "xterm"})
    assert terminal.end() == 0, terminal.shown
    assert terminal.shown.count(f"{text}\r\n") == 2
    assert "llm-proxy: 0 waiting, 1 in batch, 0 done" in terminal.shown
    line, _, after = terminal.shown.rpartition("\x1b[2K")
    # Every line is taken away, the last one before the receipt.
    assert line and "in batch" not in after, terminal.shown
    assert "\r\nllm-proxy\r\n  time taken" in after and "2 answered, 0 failed" in after


def test_no_progress_is_none(env):
    text = marker()
    quiet = env | {"TERM": "xterm", "LLM_PROXY_NO_PROGRESS": "true"}
    terminal = Terminal([*PYTHON, SCRIPT, f"echo:{text} slow:300"], quiet)
    assert terminal.end() == 0, terminal.shown
    assert "in batch" not in terminal.shown and "2 answered" in terminal.shown


@pytest.mark.parametrize(("words", "times"), [([], 1), (["apart"], 0)])
def test_ctrl_c_reaches_the_script_from_the_terminal_alone(env, words, times):
    terminal = Terminal([*PYTHON, INTERRUPTED, *words], env)
    terminal.until("ready")
    os.write(terminal.main, b"\x03")
    assert terminal.end() == 7, terminal.shown
    assert f"interrupted {times} times" in terminal.shown


@pytest.mark.parametrize(("which", "python"), [("now", sys.executable), ("before", OPENAI2)])
def test_clients_that_are_told_nothing_find_the_proxy(env, tmp_path, which, python):
    provider = env["ANTHROPIC_BASE_URL"]
    tables = [f'[upstreams.{name}]\nbase_url = "{provider}{path}"\n' for name, path in UPSTREAMS.items()]
    config = tmp_path / "upstreams.toml"
    config.write_text("".join([*tables, '[upstreams.azure.models]\n"gpt-4o" = "gpt-4o-batch"\n']))
    names = ["AZURE", "AZURE_OPENAI", "GEMINI", "GROQ", "MISTRAL", "OPENROUTER", "TOGETHER", "TOGETHERAI", "XAI"]
    begins = KEYS | {"gemini": "AIzaSy"}
    keys = {f"{name}_API_KEY": begins.get(name.lower(), "") + KEY for name in names}
    rest = dict.fromkeys(["OPENAI_API_VERSION", "AZURE_API_VERSION"], "2024-10-21")
    # LiteLLM looks for its prices where tests cannot.
    rest["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    text = marker()
    command = [*RUN, "--config", config, "--", python, HERE / "callers/plain_calls.py", which, f"echo:{text}"]
    ran = subprocess.run(command, env=env | keys | rest, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    # LiteLLM says on standard output what it thinks of errors.
    answers = json.loads(ran.stdout.splitlines()[-1])
    assert answers == dict.fromkeys(answers, text), ran.stderr
    # All of them came to the proxy, and none was merely passed on.
    assert f"requests    {len(answers)} answered, 0 failed\n" in ran.stderr
