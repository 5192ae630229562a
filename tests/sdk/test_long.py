"""Clients as they come, nothing set but where to and who, wait a quarter of an hour. Run by scripts/long.sh."""

import dataclasses

import pytest
from matrix import make_all
from test_waiting import ANSWERED

QUARTER = "slow:900000"
# Clients cannot be held longer than a limit of their own, whatever they hear: these are told what to set, and get their
# answer when they ask again.
LIMITED = {("node", "openai", False)}

CALLS = [dataclasses.replace(call, words=QUARTER, timeout=None) for call in ANSWERED]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def waited(deployment):
    first = make_all(deployment, CALLS)
    limited = [call for call in CALLS if is_limited(call)]
    return first, make_all(deployment, limited, {call: first[call].marker for call in limited}), deployment.lines()


def is_limited(call):
    return (call.program, call.client, call.stream) in LIMITED


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_client_as_it_comes_waits_for_a_quarter_of_an_hour(waited, call):
    first, second, lines = waited
    outcome = first[call]
    if is_limited(call):
        assert (outcome.error["status"], outcome.error["code"]) == (504, "client_timeout_too_short"), outcome
        outcome = second[call]
    outcome.assert_answered()
    assert [line["billed"] for line in lines[outcome.marker]] == [True]
