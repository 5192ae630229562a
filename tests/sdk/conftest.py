"""Fixtures: the deployments, each started once, and clients that differ from the default in base URL and key alone."""

import concurrent.futures
import contextlib
import os

import openai
import pytest
from deployment import KEY, Deployment

# The tests talk to this machine; a proxy for the way out has no part in it.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
# What the shell may say about Anthropic: its packages would read it.
for name in [name for name in os.environ if name.startswith("ANTHROPIC_")]:
    del os.environ[name]
LOG_TAIL = 6000


@pytest.fixture(scope="session", params=["serve", "split"])
def deployment(request):
    with checked(request.param) as running:
        yield running


@pytest.fixture(scope="module")
def holding():
    """A deployment that holds the status of its answers open."""
    with checked("holding") as running:
        yield running


@contextlib.contextmanager
def checked(kind):
    """A running deployment. After its last test: nothing left at the provider, nothing billed twice, a clean end."""
    with Deployment(kind) as running:
        yield running
        state = running.settled_state()
        codes = running.stop()
        logs = dict(running.logs())
        tails = "\n".join(f"--- {name}\n{text[-LOG_TAIL:]}" for name, text in logs.items())
        assert state["file_names_left"] == [] and state["files_left"] == 0, tails
        assert state["batches_active"] == 0, tails
        assert state["billed_twice_list"] == [] and state["billed_twice"] == 0, tails
        assert state["violations"] == [], tails
        assert set(codes.values()) == {0}, f"exit codes {codes}\n{tails}"
        assert [name for name, text in logs.items() if KEY in text] == [], "a key is in a log"


@pytest.fixture(scope="session")
def background():
    """Runs something beside the tests; gives a future."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        yield threads.submit


@pytest.fixture
def client(deployment):
    with openai.OpenAI(base_url=deployment.base_url, api_key=KEY) as made:
        yield made


@pytest.fixture
def strict_client(client):
    """A client that does not try again, for errors that the SDK would retry."""
    return client.with_options(max_retries=0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the services' logs to the report of a failed test."""
    report = yield
    given = getattr(item, "funcargs", {})
    running = given.get("deployment", given.get("holding"))
    if report.when == "call" and report.failed and isinstance(running, Deployment):
        report.sections += [(f"log of {name}", text[-LOG_TAIL:]) for name, text in running.logs()]
    return report
