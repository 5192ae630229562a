"""Calls through many clients at once: what to call, and what came of it."""

import concurrent.futures
import dataclasses
import json
import os
import shutil
import subprocess
import sys

from deployment import KEY, ROOT, marker

HERE = ROOT / "tests/sdk"
OPENAI2 = ROOT / ".cache/venv-openai2/bin/python"
# Ends a program that would never end; no test gets slower by it.
PROGRAM_SECONDS = 3600

# What makes the calls of a client.
PROGRAMS = {
    "python": [sys.executable, HERE / "callers/calls.py"],
    "python-openai2": [OPENAI2, HERE / "callers/calls.py"],
    "python-anthropic": [sys.executable, HERE / "callers/anthropic_calls.py"],
    "python-anthropic-before": [OPENAI2, HERE / "callers/anthropic_calls.py"],
    "python-providers": [sys.executable, HERE / "callers/provider_calls.py"],
    "python-providers-before": [OPENAI2, HERE / "callers/provider_calls.py"],
    "node": ["node", HERE / "callers/calls.mjs"],
}

# How the keys of providers begin that look at that.
KEYS = {"compat": "ck-", "groq": "gsk_", "openrouter": "sk-or-", "xai": "xai-"}
# What the packages would read of what the shell may say.
FOREIGN = (
    *("ANTHROPIC_", "AZURE_", "GROQ_", "LANGCHAIN_", "LANGSMITH_", "LITELLM_", "MISTRAL_", "OPENAI_", "OPENROUTER_"),
    *("TOGETHER", "XAI_"),
)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call, through one client."""

    program: str
    client: str
    api: str = "chat"
    stream: bool = False
    # Orders to the simulator beside the marker.
    words: str = ""
    # The client's own limit in seconds: its timeout, or for clients without one what it says of its patience. None leaves
    # the client as it comes.
    timeout: float | None = 3
    model: str = "gpt-4o-mini"
    # The upstream that is named in the path; without one it is that of the API.
    provider: str = ""

    def __str__(self):
        parts = [self.program, self.client, *([self.provider] if self.provider else []), self.api, *(["stream"] if self.stream else []), *self.words.split()]
        return "-".join(dict.fromkeys(parts))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    marker: str
    # What the client gave its program: the text of an answer, or else an error.
    text: str | None
    error: dict | None
    # The tokens that the client counts, where it is asked for them.
    tokens: int | None

    def assert_answered(self):
        assert self.error is None and self.text == self.marker, self


def make_all(deployment, calls, markers=None):
    """Makes all calls at once; returns what came of each. With the markers of before they are the same calls again."""
    markers = markers or {call: marker() for call in calls}
    by_program = {}
    for call in calls:
        by_program.setdefault(call.program, []).append(call)
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(by_program)) as threads:
        runs = [threads.submit(run, deployment, program, some, markers) for program, some in by_program.items()]
        results = {call: result for done in runs for call, result in done.result().items()}
    parts = ["text", "error", "tokens"]
    return {call: Outcome(markers[call], *map(result.get, parts)) for call, result in results.items()}


def run(deployment, program, calls, markers):
    wanted = [
        dataclasses.asdict(call)
        | {"base_url": deployment.base_url_of(call.provider), "key": KEYS.get(call.provider, "") + KEY}
        | {"text": f"echo:{markers[call]} {call.words}".strip()}
        for call in calls
    ]
    if program == "curl":
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(wanted)) as threads:
            return dict(zip(calls, threads.map(curl, wanted)))
    env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # LiteLLM would look up prices elsewhere.
    env |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ran = subprocess.run(
        PROGRAMS[program], input=json.dumps(wanted), env=env, text=True, timeout=PROGRAM_SECONDS, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(calls, json.loads(ran.stdout), strict=True))


def curl(call):
    """The same through curl, which has no limit of its own but says what its caller's is."""
    body = {"model": call["model"], "messages": [{"role": "user", "content": call["text"]}]}
    body |= {"stream": True} if call["stream"] else {}
    headers = {"content-type": "application/json", "authorization": f"Bearer {call['key']}"}
    headers |= {} if call["timeout"] is None else {"x-server-timeout": str(call["timeout"])}
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [shutil.which("curl"), "-sS", "-N", "--max-time", str(PROGRAM_SECONDS), "-w", "\n%{http_code}", *lines]
    ran = subprocess.run(
        [*command, "-d", json.dumps(body), f"{call['base_url']}/chat/completions"], text=True, capture_output=True
    )
    if ran.returncode != 0:
        return {"error": {"types": [f"curl {ran.returncode}"], "status": None, "code": None, "message": ran.stderr}}
    answer, status = ran.stdout.rsplit("\n", 1)
    if status != "200":
        return failed(json.loads(answer)["error"], int(status))
    if not call["stream"]:
        return {"text": json.loads(answer)["choices"][0]["message"]["content"]}
    data = [line.removeprefix("data: ") for line in answer.split("\n") if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    chunks = [json.loads(chunk) for chunk in data]
    if "error" in chunks[-1]:
        return failed(chunks[-1]["error"], None)
    return {"text": "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)}


def failed(error, status):
    return {"error": {"types": ["error"], "status": status, "code": error["code"], "message": error["message"]}}
