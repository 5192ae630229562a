"""Streams of the real `anthropic` package for Python: what its helpers collect is what the call without a stream gives."""

import asyncio
import concurrent.futures

import anthropic
import pytest
from deployment import marker
from test_anthropic import asking, new_key

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = {"tools": [{"name": name, "input_schema": SCHEMA} for name in ["left", "right"]]}
# Orders to the simulated model, and arguments of the call.
CASES = {
    "text": ("size:300", {}),
    "tools": ("call:left call:right", TOOLS),
    "thoughts": ("think", {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
    "citations": ("cite", {}),
    "refusal": ("refuse", {}),
    "all of it": ("think cite call:left call:right", TOOLS),
}
# What an event of the helper is called that tells of a part.
TOLD = {
    "text": {"text"},
    "tools": {"text", "input_json"},
    "thoughts": {"text", "thinking", "signature"},
    "citations": {"text", "citation"},
    "refusal": {"text"},
    "all of it": {"text", "input_json", "thinking", "signature", "citation"},
}


# ---- Calls ----


def whole(client, asked):
    return client.messages.create(**asked)


def events(client, asked):
    raw = client.messages.with_raw_response.create(**asked, stream=True)
    return raw.headers, list(raw.parse())


def helper(client, asked):
    with client.messages.stream(**asked) as stream:
        return [event.type for event in stream], stream.get_final_message()


def text_helper(client, asked):
    with client.messages.stream(**asked) as stream:
        return "".join(stream.text_stream), stream.get_final_message()


def beta_helper(client, asked):
    with client.beta.messages.stream(**asked) as stream:
        return [event.type for event in stream], stream.get_final_message()


def async_helper(client, asked):
    async def call():
        async with anthropic.AsyncAnthropic(base_url=client.base_url, api_key=client.api_key) as other:
            async with other.messages.stream(**asked) as stream:
                return [event.type async for event in stream], await stream.get_final_message()

    return asyncio.run(call())


WAYS = [whole, events, helper, text_helper, beta_helper, async_helper]
HELPERS = [helper, beta_helper, async_helper]


@pytest.fixture(scope="session")
def made(deployment):
    """Every case in every way, with a text that no other call has; all at once."""

    def make(way, order, more):
        text = marker()
        return text, way(client, asking(f"echo:{text} {order}") | more)

    with anthropic.Anthropic(base_url=deployment.origin, api_key=new_key()) as client:
        with concurrent.futures.ThreadPoolExecutor(max_workers=64) as threads:
            futures = {(way, name): threads.submit(make, way, *case) for name, case in CASES.items() for way in WAYS}
        return lambda way, name: futures[way, name].result()


# ---- Comparing ----


def plain(message, text):
    """A message without what two answers to two texts must differ in, and what the package parses on top."""

    def plain(value, key=None):
        if isinstance(value, dict):
            return {k: plain(v, k) for k, v in value.items() if v is not None and not k.startswith("parsed")}
        if isinstance(value, list):
            return [plain(one) for one in value]
        if key == "id":
            return value.rstrip("0123456789abcdef")
        if key in ("signature", "data"):
            return len(value)
        return value.replace(text, "TEXT") if isinstance(value, str) else value

    return plain(message.model_dump(warnings=False))


# ---- Tests ----


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", HELPERS)
def test_helpers(made, way, case):
    text, answer = made(whole, case)
    streamed_text, (told, final) = made(way, case)
    assert plain(final, streamed_text) == plain(answer, text)
    assert (told[0], told[-1]) == ("message_start", "message_stop")
    assert TOLD[case] <= set(told)


@pytest.mark.parametrize("case", CASES)
def test_helper_for_text(made, case):
    streamed_text, (joined, final) = made(text_helper, case)
    assert joined == "".join(block.text for block in final.content if block.type == "text")
    assert streamed_text in joined


@pytest.mark.parametrize("case", CASES)
def test_events(made, case):
    _, answer = made(whole, case)
    _, (headers, seen) = made(events, case)
    assert headers["x-llm-proxy-route"] == "batch"
    assert headers["x-llm-proxy-job"].startswith("msgbatch_")
    assert headers["content-type"].startswith("text/event-stream")
    kinds = [event.type for event in seen]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    begun = [(event.index, event.content_block.type) for event in seen if event.type == "content_block_start"]
    assert begun == [(index, block.type) for index, block in enumerate(answer.content)]
    assert [event.index for event in seen if event.type == "content_block_stop"] == list(range(len(answer.content)))
    assert seen[0].message.content == [] and seen[0].message.stop_reason is None
    assert seen[0].message.usage.input_tokens == answer.usage.input_tokens
    assert seen[-2].delta.stop_reason == answer.stop_reason
    assert seen[-2].usage.output_tokens == answer.usage.output_tokens


@pytest.mark.parametrize("case", CASES)
def test_kinds_of_blocks(made, case):
    """The cases ask for what they are called after."""
    _, answer = made(whole, case)
    kinds = [block.type for block in answer.content]
    thoughts = ["thinking", "redacted_thinking"] if case in ("thoughts", "all of it") else []
    texts = ["text", "text"] if case in ("citations", "all of it") else ["text"]
    tools = ["tool_use", "tool_use"] if case in ("tools", "all of it") else []
    assert kinds == [*thoughts, *texts, *tools]
    cited = [len(block.citations) for block in answer.content if block.type == "text" and block.citations]
    assert cited == ([2] if len(texts) == 2 else [])
