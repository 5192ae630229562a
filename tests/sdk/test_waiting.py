"""Every client is less patient than the batch takes: it gets its answer, or the late error as it is, and nothing is paid
twice."""

import dataclasses

import pytest
from matrix import Call, make_all

# Longer than every client's limit; within three attempts of the client whose limit nothing extends.
LATE = "slow:7000"
TOTAL_LIMIT = 6
FAILURE = "The text asked for this failure."

STREAMS = [False, True]
APIS = ["chat", "responses"]


def calls(program, clients, apis=("chat",), **more):
    return [Call(program, client, api, stream, **more) for client in clients for api in apis for stream in STREAMS]


OPENAI2 = "python-openai2"
ANSWERED = [
    *calls("python", ["openai", "openai-async", "langchain", "langchain-async"], APIS),
    *calls("python", ["openai"], ["completions"]),
    *calls(OPENAI2, ["openai", "litellm", "litellm-async", "instructor", "instructor-async"]),
    *calls("node", ["openai"], APIS, timeout=TOTAL_LIMIT),
    *calls("node", ["openai-6", "ai"], APIS),
    *calls("node", ["fetch"]),
    *calls("curl", ["curl"]),
]
ANSWERED = [dataclasses.replace(call, words=LATE) for call in ANSWERED]
REFUSED = [dataclasses.replace(call, words=f"{LATE} fail:400") for call in ANSWERED]
# Statuses after which a client would try again of itself, had it not been told that it is no use.
OTHER_ERRORS = {
    Call("python", client, words=f"{LATE} {words}"): expected
    for client in ["openai", "openai-async"]
    for words, *expected in [
        ("fail:429", 429, "RateLimitError", 1),
        ("fail:500", 500, "InternalServerError", 1),
        ("expire", 504, "InternalServerError", 0),
    ]
}
# It does try again, and gets the same error each time.
OTHER_ERRORS |= {Call("node", "ai", words=f"{LATE} fail:500"): [500, "RetryError", 1]}

# These do not come back by themselves when an answer breaks off.
STAYS_AWAY = {"openai-6", "fetch", "curl"}
BROKEN_OFF = {"curl 18", "curl 56"}

# Not answered within three attempts of 5 s, but soon after. A model of its own keeps it out of the others' batches.
BEYOND = Call("node", "openai", words="slow:20000", timeout=5, model="gpt-4.1-mini")
TRIES = 8


def breaks_off(call):
    return call.client in STAYS_AWAY and not call.stream


def assert_broken_off(error):
    assert error["status"] is None, error
    assert error["message"] == "terminated" or BROKEN_OFF & set(error["types"]), error


@pytest.fixture(scope="session")
def matrix(deployment, background):
    """What came of all calls, which are made at once."""
    persevering = background(persevere, deployment)
    first = make_all(deployment, [*ANSWERED, *REFUSED, *OTHER_ERRORS])
    again = [call for call in REFUSED if breaks_off(call)]
    second = make_all(deployment, again, {call: first[call].marker for call in again})
    tries = persevering.result()
    lines = deployment.lines()
    return together(first, second, lines) | {BEYOND: [*tries, lines.get(tries[0].marker, [])]}


def together(first, second, lines):
    """What came of each call, of its repetition if there was one, and its lines at the provider."""
    return {
        call: [outcome, *([second[call]] if call in second else []), lines.get(outcome.marker, [])]
        for call, outcome in first.items()
    }


def persevere(deployment):
    """Sends the same call until it is answered."""
    tries = [make_all(deployment, [BEYOND])[BEYOND]]
    while tries[-1].error and len(tries) < TRIES:
        tries.append(make_all(deployment, [BEYOND], {BEYOND: tries[0].marker})[BEYOND])
    return tries


@pytest.mark.parametrize("call", ANSWERED, ids=str)
def test_a_client_outlives_its_limit(matrix, call):
    outcome, lines = matrix[call]
    outcome.assert_answered()
    assert [line["billed"] for line in lines] == [True]


@pytest.mark.parametrize("call", REFUSED, ids=str)
def test_a_late_error_is_told(matrix, call):
    outcome, *again, lines = matrix[call]
    error = outcome.error
    assert error and outcome.text is None
    assert [line["status"] for line in lines] == [400]
    if breaks_off(call):
        assert_broken_off(error)
        error = again[0].error
    assert FAILURE in error["message"], error
    if not call.stream:
        # Instructor hides the exception behind one of its own.
        assert error["status"] == 400 or "Error code: 400" in error["message"], error


@pytest.mark.parametrize("call", OTHER_ERRORS, ids=str)
def test_a_late_error_is_final(matrix, call):
    outcome, lines = matrix[call]
    status, kind, executed = OTHER_ERRORS[call]
    assert outcome.error["status"] == status and kind in outcome.error["types"], outcome
    assert len(lines) == executed


def test_a_client_whose_limit_nothing_extends_is_told_so_and_gets_the_answer_later(matrix):
    *tries, lines = matrix[BEYOND]
    assert len(tries) > 1
    for outcome in tries[:-1]:
        # On a machine that is busy its own clock may be first.
        assert outcome.error["status"] == 504 or "APIConnectionTimeoutError" in outcome.error["types"], outcome
    told = [outcome.error for outcome in tries[:-1] if outcome.error["status"] == 504]
    assert told and all(error["code"] == "client_timeout_too_short" for error in told)
    assert "`timeout: 86400000`" in told[0]["message"]
    tries[-1].assert_answered()
    assert [line["billed"] for line in lines] == [True]


# ---- Status held open ----

HELD_REFUSED = [
    *calls("python", ["openai", "openai-async"], APIS),
    Call("python", "langchain"),
    Call(OPENAI2, "litellm"),
    Call("node", "ai"),
    *calls("curl", ["curl"]),
]
HELD_REFUSED = [dataclasses.replace(call, words="fail:400") for call in HELD_REFUSED]
# The whole batch fails, in its validation.
HELD_FAILED = [Call("python", "openai", stream=stream, model="no-such-model") for stream in STREAMS]
HELD_FAILED += [Call("curl", "curl", model="no-such-model")]
# For clients of which it is not known that they take it, the status is not held open.
NOT_HELD_FAILED = [Call("node", client, model="no-such-model") for client in ["openai-6", "fetch"]]
HELD_ANSWERED = [
    *calls("python", ["openai"], APIS),
    *calls("node", ["openai-6", "ai", "fetch"]),
    Call("node", "openai", timeout=4),
    *calls("curl", ["curl"]),
]


@pytest.fixture(scope="module")
def held(holding):
    made = make_all(holding, [*HELD_REFUSED, *HELD_FAILED, *NOT_HELD_FAILED, *HELD_ANSWERED])
    again = make_all(holding, NOT_HELD_FAILED, {call: made[call].marker for call in NOT_HELD_FAILED})
    return together(made, again, holding.lines())


@pytest.mark.parametrize("call", HELD_REFUSED, ids=str)
def test_a_late_error_has_its_status_where_the_status_is_held_open(held, call):
    outcome, lines = held[call]
    assert outcome.error["status"] == 400 and FAILURE in outcome.error["message"], outcome
    # At the first attempt.
    assert outcome.error.get("retries") in ("0", None) and "RetryError" not in outcome.error["types"]
    assert [line["status"] for line in lines] == [400]


@pytest.mark.parametrize("call", HELD_FAILED, ids=str)
def test_a_batch_that_fails_late_has_its_status_where_the_status_is_held_open(held, call):
    outcome, lines = held[call]
    assert (outcome.error["status"], outcome.error["code"], lines) == (404, "model_not_found", [])


@pytest.mark.parametrize("call", NOT_HELD_FAILED, ids=str)
def test_a_batch_that_fails_late_is_told_to_a_new_call(held, call):
    outcome, again, lines = held[call]
    assert_broken_off(outcome.error)
    assert (again.error["status"], again.error["code"], lines) == (404, "model_not_found", [])


@pytest.mark.parametrize("call", HELD_ANSWERED, ids=str)
def test_a_client_outlives_its_limit_where_the_status_is_held_open(held, call):
    outcome, lines = held[call]
    outcome.assert_answered()
    assert [line["billed"] for line in lines] == [True]
