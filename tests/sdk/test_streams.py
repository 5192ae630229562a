"""Streams of the real `openai` package for Python: what its helpers collect is what the call without a stream gives."""

import concurrent.futures

import openai
import pytest
from deployment import KEY, marker

MODEL = "gpt-4o-mini"
PROPERTIES = {"text": {"type": "string"}}
TEXT = {"type": "object", "properties": PROPERTIES, "required": ["text"], "additionalProperties": False}
FUNCTIONS = [{"name": name, "strict": True, "parameters": TEXT} for name in ["left", "right"]]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
RESPONSE_TOOLS = [{"type": "function", **function} for function in FUNCTIONS]
WITH_USAGE = {"stream_options": {"include_usage": True}}

# Orders to the simulated model, and arguments of the call.
CHATS = {
    "text": ("size:300", {}),
    "two choices": ("", {"n": 2}),
    "tools": ("call:left call:right", {"tools": TOOLS}),
    "tools of two choices": ("call:left", {"tools": TOOLS, "n": 2}),
    "refusal": ("refuse", {}),
    "log probabilities": ("size:100", {"logprobs": True}),
}
RESPONSES = {
    "text": ("size:300", {}),
    "tools": ("call:left call:right", {"tools": RESPONSE_TOOLS}),
    "refusal": ("refuse", {}),
}
COMPLETIONS = {"two choices": ("", {"n": 2})}


# ---- Calls ----


def chat(text, order, more):
    return {"model": MODEL, "messages": [{"role": "user", "content": f"echo:{text} {order}"}], **more}


def whole_chat(client, asked):
    return client.chat.completions.create(**asked)


def chat_helper(client, asked):
    with client.chat.completions.stream(**asked, **WITH_USAGE) as stream:
        return [event.type for event in stream], stream.get_final_completion()


def chat_chunks(client, asked):
    raw = client.chat.completions.with_raw_response.create(**asked, stream=True)
    return raw.headers, list(raw.parse())


def chat_chunks_with_usage(client, asked):
    return list(client.chat.completions.create(**asked, stream=True, **WITH_USAGE))


def completion(text, order, more):
    return {"model": "gpt-3.5-turbo-instruct", "prompt": f"echo:{text} {order}", **more}


def whole_completion(client, asked):
    return client.completions.create(**asked)


def completion_chunks(client, asked):
    return list(client.completions.create(**asked, stream=True, **WITH_USAGE))


def response(text, order, more):
    return {"model": MODEL, "input": f"echo:{text} {order}", **more}


def whole_response(client, asked):
    return client.responses.create(**asked)


def response_helper(client, asked):
    with client.responses.stream(**asked) as stream:
        return list(stream), stream.get_final_response()


WAYS = [
    (chat, CHATS, [whole_chat, chat_helper, chat_chunks, chat_chunks_with_usage]),
    (completion, COMPLETIONS, [whole_completion, completion_chunks]),
    (response, RESPONSES, [whole_response, response_helper]),
]


@pytest.fixture(scope="session")
def made(deployment):
    """Every case in every way, with a text that no other call has; all at once."""

    def make(way, ask, case):
        text = marker()
        return text, way(client, ask(text, *case))

    with openai.OpenAI(base_url=deployment.base_url, api_key=KEY) as client:
        with concurrent.futures.ThreadPoolExecutor(max_workers=64) as threads:
            futures = {
                (way, name): threads.submit(make, way, ask, case)
                for ask, cases, ways in WAYS
                for name, case in cases.items()
                for way in ways
            }
        return lambda way, name: futures[way, name].result()


# ---- Comparing ----


def plain(part, text):
    """An object of the package without what two answers to two texts must differ in, and what it parses on top."""

    def plain(value, key=None):
        if key == "bytes":
            return len(value)
        if isinstance(value, dict):
            return {k: plain(v, k) for k, v in value.items() if v is not None and not k.startswith("parsed")}
        if isinstance(value, list):
            return [plain(one) for one in value]
        if key in ("id", "call_id"):
            return value.rstrip("0123456789abcdef")
        return value.replace(text, "TEXT") if isinstance(value, str) else value

    return plain(part.model_dump())


def choices(completion, text):
    plains = [plain(choice, text) for choice in completion.choices]
    for choice in plains:
        # The accumulator numbers the tool calls of a message.
        for call in choice["message"].get("tool_calls", []):
            call.pop("index", None)
    return plains


# ---- Tests ----


@pytest.mark.parametrize("case", CHATS)
def test_helper_for_chat(made, case):
    text, whole = made(whole_chat, case)
    streamed_text, (events, final) = made(chat_helper, case)
    assert choices(final, streamed_text) == choices(whole, text)
    assert final.usage == whole.usage
    for field in ["model", "system_fingerprint", "service_tier"]:
        assert getattr(final, field) == getattr(whole, field)
    assert "chunk" in events and any(event.endswith(".done") for event in events)


@pytest.mark.parametrize("case", CHATS)
def test_chunks_of_chat(made, case):
    text, whole = made(whole_chat, case)
    streamed_text, (headers, chunks) = made(chat_chunks, case)
    assert headers["x-llm-proxy-route"] == "batch"
    assert headers["content-type"].startswith("text/event-stream")
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    # Nobody asked for the usage.
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)
    for choice in whole.choices:
        parts = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert parts[0].delta.role == "assistant"
        assert [part.finish_reason for part in parts if part.finish_reason] == [choice.finish_reason]
        for field in ["content", "refusal"]:
            joined = "".join(getattr(part.delta, field) or "" for part in parts)
            assert joined.replace(streamed_text, "TEXT") == (getattr(choice.message, field) or "").replace(text, "TEXT")


@pytest.mark.parametrize("case", CHATS)
def test_usage_is_given_to_those_who_ask(made, case):
    _, whole = made(whole_chat, case)
    _, chunks = made(chat_chunks_with_usage, case)
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize("case", COMPLETIONS)
def test_chunks_of_completions(made, case):
    text, whole = made(whole_completion, case)
    streamed_text, chunks = made(completion_chunks, case)
    assert chunks.pop().usage == whole.usage
    for choice in whole.choices:
        parts = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert "".join(part.text for part in parts).replace(streamed_text, "TEXT") == choice.text.replace(text, "TEXT")
        assert [part.finish_reason for part in parts if part.finish_reason] == [choice.finish_reason]


@pytest.mark.parametrize("case", RESPONSES)
def test_helper_for_responses(made, case):
    text, whole = made(whole_response, case)
    streamed_text, (events, final) = made(response_helper, case)
    assert [plain(item, streamed_text) for item in final.output] == [plain(item, text) for item in whole.output]
    assert final.usage == whole.usage
    assert final.output_text.replace(streamed_text, "TEXT") == whole.output_text.replace(text, "TEXT")
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert [event.sequence_number for event in events] == list(range(len(events)))
