"""Clients as they come, nothing set but where to and who, wait a quarter of an hour. Run by scripts/long.sh."""

import dataclasses

import pytest
from matrix import make_all
from test_waiting import ANSWERED

QUARTER = "slow:900000"
CALLS = [dataclasses.replace(call, words=QUARTER, timeout=None) for call in ANSWERED]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def waited(deployment):
    return make_all(deployment, CALLS), deployment.lines()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_client_as_it_comes_waits_for_a_quarter_of_an_hour(waited, call):
    outcome, lines = waited[0][call], waited[1]
    outcome.assert_answered()
    assert [line["billed"] for line in lines[outcome.marker]] == [True]
