"""What speaks Anthropic's API, old and new: answers, errors, waiting longer than the client would, and lost connections."""

import dataclasses

import anthropic
import pytest
from deployment import SETTLE_SECONDS, marker, poll
from matrix import Call, make_all
from relay import Relay
from test_anthropic import new_key, say_raw, texts_of

# Longer than the limits of the clients.
LATE = "slow:7000"
FAILURE = "The text asked for this failure."
BEFORE = "python-anthropic-before"


def calls(program, clients, apis=("messages",), **more):
    return [
        Call(program, client, api, stream, model="claude-haiku-4-5", **more)
        for client in clients
        for api in apis
        for stream in [False, True]
    ]


ANTHROPIC = [
    *calls("python-anthropic", ["anthropic", "anthropic-async"], ["messages", "beta"]),
    *calls(BEFORE, ["anthropic", "anthropic-async"], ["messages", "beta"]),
    *calls("python-anthropic", ["langchain_anthropic", "langchain_anthropic-async"]),
]
# It tells nobody of its limit, so that it has to be left as it comes.
LITELLM = calls(BEFORE, ["litellm", "litellm-async"], timeout=None)
CALLS = [*ANTHROPIC, *LITELLM]
LITELLM_STREAMS = [dataclasses.replace(call, words=words) for words in ["", LATE] for call in LITELLM if call.stream]
ANSWERED = [dataclasses.replace(call, words=words) for words in ["", LATE] for call in CALLS]
REFUSED = [dataclasses.replace(call, words=words) for words in ["fail:400", f"{LATE} fail:400"] for call in CALLS]


@pytest.fixture(scope="session")
def outcomes(deployment):
    """What came of all calls, which are made at once, and their lines at the provider."""
    return make_all(deployment, [*ANSWERED, *REFUSED]), deployment.lines()


@pytest.mark.parametrize("call", ANSWERED, ids=str)
def test_an_answer(deployment, outcomes, call):
    if deployment.kind == "split" and call in LITELLM_STREAMS:
        pytest.skip("LiteLLM takes U+2028 in an event for the end of a line, from the provider itself too")
    outcome, lines = outcomes[0][call], outcomes[1]
    outcome.assert_answered()
    assert [line["billed"] for line in lines[outcome.marker]] == [True]


@pytest.mark.parametrize("call", REFUSED, ids=str)
def test_an_error(outcomes, call):
    outcome, lines = outcomes[0][call], outcomes[1]
    assert outcome.error and outcome.text is None
    assert FAILURE in outcome.error["message"], outcome
    if not call.stream:
        assert (outcome.error["status"], "BadRequestError" in outcome.error["types"]) == (400, True), outcome
    assert [line["status"] for line in lines[outcome.marker]] == [400]


# ---- Lost connections ----


def silent(_):
    return True


def begun(relay):
    return relay.has_answered


@pytest.mark.parametrize(("when", "more"), [(silent, {}), (silent, {"stream": True}), (begun, {"timeout": 3})])
def test_a_lost_connection_is_not_paid_twice(deployment, background, when, more):
    """The package asks again by itself, and is given what it asked for before."""
    text = marker()
    model = f"claude-{text}"
    with Relay(deployment.origin) as relay:
        with anthropic.Anthropic(base_url=relay.url, api_key=new_key()) as client:
            asked = background(say_raw, client, f"echo:{text} {LATE}", model=model, **more)

            def is_running():
                batches = [batch for batch in deployment.state()["batches"] if batch["model"] == model]
                return [batch["status"] for batch in batches] == ["in_progress"] and when(relay)

            poll("job in progress", SETTLE_SECONDS, is_running)
            relay.cut()
            raw = asked.result()
            assert raw.retries_taken == 1
            assert said(raw.parse()) == text
    assert [line["billed"] for line in deployment.lines()[text]] == [True]


def said(answer):
    if isinstance(answer, anthropic.Stream):
        return "".join(event.delta.text for event in answer if event.type == "content_block_delta")
    return texts_of(answer)[0]
