"""The real `openai` package for Python, with its base URL and key changed and nothing else."""

import asyncio
import hashlib
import json
import urllib.request

import openai
import pytest
from deployment import KEY, marker

CHAT_MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
CONCURRENT = 50


def saying(text):
    return [{"role": "user", "content": text}]


def chat(client, text, **more):
    return client.chat.completions.create(model=CHAT_MODEL, messages=saying(text), **more)


# ---- Answers ----


def test_chat(client):
    text = marker()
    answer = chat(client, f"echo:{text}")
    assert answer.choices[0].message.content == text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == CHAT_MODEL
    assert answer.usage.total_tokens > 0


def test_chat_with_unicode_is_answered_in_it(client):
    text = marker() + '-žluťoučký-🦀-"quoted"-\\'
    assert chat(client, f"echo:{text}").choices[0].message.content == text


def test_chat_async(deployment):
    text = marker()

    async def call():
        async with openai.AsyncOpenAI(base_url=deployment.base_url, api_key=KEY) as client:
            return await chat(client, f"echo:{text}")

    assert asyncio.run(call()).choices[0].message.content == text


def test_concurrent_calls_get_their_own_answers(deployment):
    texts = [marker() for _ in range(CONCURRENT)]

    async def call_all():
        async with openai.AsyncOpenAI(base_url=deployment.base_url, api_key=KEY) as client:
            return await asyncio.gather(*(chat(client, f"echo:{text}") for text in texts))

    answers = asyncio.run(call_all())
    assert [answer.choices[0].message.content for answer in answers] == texts
    assert len({answer.id for answer in answers}) == CONCURRENT


def test_responses(client):
    text = marker()
    answer = client.responses.create(model=CHAT_MODEL, input=f"echo:{text}")
    assert answer.output_text == text
    assert answer.status == "completed"


def test_embeddings(client):
    inputs = [marker(), marker()]
    as_floats = client.embeddings.create(model=EMBEDDING_MODEL, input=inputs, encoding_format="float", dimensions=8)
    assert [item.index for item in as_floats.data] == [0, 1]
    for text, item in zip(inputs, as_floats.data):
        digest = hashlib.sha256(text.encode()).digest()
        assert item.embedding == pytest.approx([byte / 127.5 - 1 for byte in digest[:8]], abs=1e-5)


def test_embeddings_in_base64_as_by_default(client):
    text = marker()
    # Without an encoding_format the package asks for base64 and decodes it.
    by_default = client.embeddings.create(model=EMBEDDING_MODEL, input=text)
    as_floats = client.embeddings.create(model=EMBEDDING_MODEL, input=text, encoding_format="float")
    assert len(by_default.data[0].embedding) == len(as_floats.data[0].embedding) > 1
    assert by_default.data[0].embedding == pytest.approx(as_floats.data[0].embedding, abs=1e-5)
    # Asked for in so many words it is not decoded; another input, for the same body again would look as if billed twice.
    undecoded = client.embeddings.create(model=EMBEDDING_MODEL, input=marker(), encoding_format="base64")
    assert isinstance(undecoded.data[0].embedding, str)


def test_completions(client):
    text = marker()
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=f"echo:{text}")
    assert answer.choices[0].text == text


def test_moderations(client):
    flagged = client.moderations.create(model="omni-moderation-latest", input="flagme")
    assert flagged.results[0].flagged
    harmless = client.moderations.create(model="omni-moderation-latest", input=marker())
    assert not harmless.results[0].flagged


def test_raw_response_headers(client):
    text = marker()
    raw = client.chat.completions.with_raw_response.create(model=CHAT_MODEL, messages=saying(f"echo:{text}"))
    assert raw.status_code == 200
    assert raw.headers["x-llm-proxy-route"] == "batch"
    assert raw.headers["x-llm-proxy-job"].startswith("batch_")
    assert int(raw.headers["x-llm-proxy-queued-ms"]) >= 0
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["content-type"] == "application/json"
    answer = raw.parse()
    assert answer.choices[0].message.content == text
    assert answer._request_id == raw.headers["x-request-id"]


# ---- Errors ----


def assert_true_error(error, status):
    assert error.status_code == status
    assert error.request_id
    assert error.message
    assert set(error.body) == {"message", "type", "param", "code"}


def test_a_line_that_the_provider_refuses(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=CHAT_MODEL, messages="not a list")
    assert_true_error(caught.value, 400)
    assert "messages" in caught.value.message
    assert caught.value.response.headers["x-llm-proxy-route"] == "batch"
    assert caught.value.response.headers["x-llm-proxy-job"].startswith("batch_")


def test_a_body_without_a_model_is_refused_at_once(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"messages": saying("hello")}, cast_to=object)
    assert_true_error(caught.value, 400)
    assert "x-llm-proxy-job" not in caught.value.response.headers


def test_missing_key(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client, "hello", extra_headers={"Authorization": openai.Omit()})
    assert_true_error(caught.value, 401)


def test_invalid_key(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client.with_options(api_key="sk-invalid-key-of-a-test"), "hello")
    assert_true_error(caught.value, 401)
    assert caught.value.code == "invalid_api_key"
    assert "key-of-a-test" not in str(caught.value)


def test_key_without_permission_to_batch(client):
    part, text = client.with_options(api_key="sk-nobatch-of-a-test"), marker()
    for _ in range(2):
        # The first finds out by its batch, the second is not batched any more.
        raw = part.chat.completions.with_raw_response.create(model=CHAT_MODEL, messages=saying(f"echo:{text}"))
        assert raw.headers["x-llm-proxy-route"] == "sync"
        assert raw.headers["x-llm-proxy-relay-reason"] == "unbatchable"
        assert raw.parse().choices[0].message.content == text
        text = marker()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_status_of_a_line_is_the_status_of_the_answer(strict_client, status, expected):
    with pytest.raises(expected) as caught:
        chat(strict_client, f"fail:{status}")
    assert_true_error(caught.value, status)
    assert caught.value.response.headers["x-llm-proxy-route"] == "batch"


def test_unknown_model(client):
    # The whole batch fails in the provider's validation; its message is passed on with 400, as for every line that fails there.
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        client.chat.completions.create(model="no-such-model", messages=saying("hello"))
    assert caught.value.code == "model_not_found"
    assert "no-such-model" in caught.value.message


# ---- Streams ----


def test_a_stream_is_batched(client):
    text = marker()
    raw = client.chat.completions.with_raw_response.create(
        model=CHAT_MODEL, messages=saying(f"echo:{text}"), stream=True
    )
    assert raw.headers["x-llm-proxy-route"] == "batch"
    assert raw.headers["x-llm-proxy-job"].startswith("batch_")
    assert_streams(raw, text)


# ---- Relay ----


def test_a_stream_is_the_providers_own_on_request(client):
    text = marker()
    raw = client.chat.completions.with_raw_response.create(
        model=CHAT_MODEL,
        messages=saying(f"echo:{text}"),
        stream=True,
        extra_headers={"x-llm-proxy-mode": "sync"},
    )
    assert raw.headers["x-llm-proxy-route"] == "sync"
    assert_streams(raw, text)


def assert_streams(raw, text):
    assert raw.headers["content-type"].startswith("text/event-stream")
    chunks = list(raw.parse())
    assert len(chunks) > 1
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text


def test_list_of_models_is_relayed(client):
    raw = client.models.with_raw_response.list()
    assert raw.headers["x-llm-proxy-route"] == "relay"
    assert CHAT_MODEL in [model.id for model in raw.parse()]


# ---- Routes of the proxy itself ----


def test_stats_count_the_calls(deployment, client):
    def requests():
        with urllib.request.urlopen(f"{deployment.proxy_url}/stats", timeout=10) as answer:
            return json.load(answer)["requests"]

    before = requests()
    chat(client, f"echo:{marker()}")
    after = requests()
    assert after["total"] == before["total"] + 1
    assert after["successful"] == before["successful"] + 1
    assert after["failed"] == before["failed"]
