"""The real `anthropic` package for Python, with its base URL and key changed and nothing else."""

import asyncio
import itertools

import anthropic
import pytest
from deployment import KEY, SETTLE_SECONDS, marker, poll

MODEL = "claude-haiku-4-5"
CONCURRENT = 30
# Counts the keys: the simulated provider is asked about the jobs of one key as seldom as the real one, and tests need not
# wait for each other.
_keys = itertools.count()


def new_key(kind=""):
    return f"sk-ant-{kind}{KEY}-{next(_keys)}"


@pytest.fixture
def client(deployment):
    with anthropic.Anthropic(base_url=deployment.origin, api_key=new_key()) as made:
        yield made


@pytest.fixture
def strict_client(client):
    """A client that does not try again, for errors that the SDK would retry."""
    return client.with_options(max_retries=0)


def asking(text, **more):
    return {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": text}], **more}


def say(client, text, **more):
    return client.messages.create(**asking(text, **more))


def say_raw(client, text, **more):
    return client.messages.with_raw_response.create(**asking(text, **more))


def texts_of(message):
    return [block.text for block in message.content if block.type == "text"]


# ---- Answers ----


def test_message(client):
    text = marker()
    answer = say(client, f"echo:{text}")
    assert texts_of(answer) == [text]
    assert (answer.type, answer.role, answer.stop_reason, answer.model) == ("message", "assistant", "end_turn", MODEL)
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer.usage.service_tier == "batch"
    # A result line that succeeded names no request.
    assert answer._request_id is None


def test_message_with_unicode_is_answered_in_it(client):
    text = marker() + '-žluťoučký-🦀-"quoted"-\\'
    assert texts_of(say(client, f"echo:{text}")) == [text]


def test_message_async(deployment):
    text = marker()

    async def call():
        async with anthropic.AsyncAnthropic(base_url=deployment.origin, api_key=new_key()) as client:
            return await say(client, f"echo:{text}")

    assert texts_of(asyncio.run(call())) == [text]


def test_concurrent_calls_get_their_own_answers(deployment):
    texts = [marker() for _ in range(CONCURRENT)]

    async def call_all():
        async with anthropic.AsyncAnthropic(base_url=deployment.origin, api_key=new_key()) as client:
            return await asyncio.gather(*(say(client, f"echo:{text}") for text in texts))

    answers = asyncio.run(call_all())
    assert [texts_of(answer) for answer in answers] == [[text] for text in texts]
    assert len({answer.id for answer in answers}) == CONCURRENT


def test_settings_of_the_environment(deployment, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", deployment.origin)
    monkeypatch.setenv("ANTHROPIC_API_KEY", new_key())
    text = marker()
    with anthropic.Anthropic() as client:
        assert texts_of(say(client, f"echo:{text}")) == [text]


@pytest.mark.parametrize("path", ["/", "/v1", "/anthropic", "/anthropic/v1"])
def test_ways_to_write_the_base_url(deployment, path):
    text = marker()
    with anthropic.Anthropic(base_url=deployment.origin + path, api_key=new_key()) as client:
        raw = say_raw(client, f"echo:{text}")
    assert raw.headers["x-llm-proxy-route"] == "batch"
    assert texts_of(raw.parse()) == [text]


def bearer(key):
    return {"auth_token": key}


def x_api_key(key):
    return {"default_headers": {"X-Api-Key": key}}


@pytest.mark.parametrize("way", [bearer, x_api_key])
def test_ways_to_give_the_key(deployment, way):
    text = marker()
    with anthropic.Anthropic(base_url=deployment.origin, **way(new_key())) as client:
        raw = say_raw(client, f"echo:{text}")
    sent = raw.http_request.headers
    assert ("authorization" in sent, "x-api-key" in sent) == (way is bearer, way is x_api_key)
    assert texts_of(raw.parse()) == [text]


def test_raw_response_headers(client):
    text = marker()
    raw = say_raw(client, f"echo:{text}")
    assert raw.status_code == 200
    assert raw.headers["x-llm-proxy-route"] == "batch"
    assert raw.headers["x-llm-proxy-job"].startswith("msgbatch_")
    assert int(raw.headers["x-llm-proxy-queued-ms"]) >= 0
    assert raw.headers["content-type"] == "application/json"
    assert texts_of(raw.parse()) == [text]


def test_a_longer_request(client):
    """System, several turns, blocks and tools go through as they are."""
    text = marker()
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    turns = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "this"},
                {"type": "text", "text": f"echo:{text} call:look", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ]
    answer = client.messages.create(
        model=MODEL,
        max_tokens=2048,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=turns,
        tools=[{"name": "look", "description": "Looks.", "input_schema": schema}],
        tool_choice={"type": "auto"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        stop_sequences=["\n\nEnd"],
        metadata={"user_id": "someone"},
    )
    assert answer.stop_reason == "tool_use"
    called = [(block.name, block.input["text"]) for block in answer.content if block.type == "tool_use"]
    assert called == [("look", text)]


# ---- Errors ----


def assert_true_error(error, status, kind):
    assert error.status_code == status
    assert error.request_id and error.request_id == error.body["request_id"]
    assert (error.type, error.body["type"], error.body["error"]["type"]) == (kind, "error", kind)
    assert error.api_message


def assert_of_the_provider(error):
    # A key or model without batches is tried alone before its error is told.
    assert error.response.headers["x-llm-proxy-route"] in ("batch", "sync")
    assert error.response.headers["x-llm-proxy-job"].startswith("msgbatch_")
    assert error.request_id.startswith("req_")


def test_a_line_that_the_provider_refuses(client):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**asking("") | {"messages": [{"role": "nobody", "content": "hello"}]})
    assert_true_error(caught.value, 400, "invalid_request_error")
    assert "messages.0.role" in caught.value.api_message
    assert_of_the_provider(caught.value)


@pytest.mark.parametrize("missing", ["model", "max_tokens", "messages"])
def test_a_body_that_lacks_what_it_needs_is_refused_at_once(client, missing):
    body = asking("hello")
    del body[missing]
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.post("/v1/messages", body=body, cast_to=object)
    assert_true_error(caught.value, 400, "invalid_request_error")
    assert caught.value.api_message == f"{missing}: Field required"
    assert "x-llm-proxy-job" not in caught.value.response.headers


def test_missing_key(client):
    with pytest.raises(anthropic.AuthenticationError) as caught:
        say(client, "hello", extra_headers={"Authorization": anthropic.Omit()})
    assert_true_error(caught.value, 401, "authentication_error")


def test_invalid_key(client):
    key = new_key("invalid-")
    with pytest.raises(anthropic.AuthenticationError) as caught:
        say(client.with_options(api_key=key), "hello")
    assert_true_error(caught.value, 401, "authentication_error")
    assert key not in str(caught.value)


def test_key_without_permission_to_batch(client):
    part, text = client.with_options(api_key=new_key("nobatch-")), marker()
    raw = part.messages.with_raw_response.create(**asking(f"echo:{text}"))
    assert raw.headers["x-llm-proxy-route"] == "sync"
    assert raw.headers["x-llm-proxy-relay-reason"] == "unbatchable"
    assert raw.parse().content[0].text == text


def test_unknown_model(client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        say(client, "hello", model="claude-missing")
    assert_true_error(caught.value, 404, "not_found_error")
    assert "claude-missing" in caught.value.api_message
    assert_of_the_provider(caught.value)


STATUSES = {
    402: (anthropic.PaymentRequiredError, "billing_error"),
    409: (anthropic.ConflictError, "conflict_error"),
    413: (anthropic.ContentTooLargeError, "request_too_large"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    504: (anthropic.GatewayTimeoutError, "timeout_error"),
    529: (anthropic.OverloadedError, "overloaded_error"),
}


@pytest.mark.parametrize("status", STATUSES)
def test_status_of_a_line_is_the_status_of_the_answer(strict_client, status):
    expected, kind = STATUSES[status]
    with pytest.raises(expected) as caught:
        say(strict_client, f"fail:{status}")
    assert_true_error(caught.value, status, kind)
    assert_of_the_provider(caught.value)


def test_an_error_that_comes_before_a_stream_has_its_status(strict_client):
    with pytest.raises(anthropic.OverloadedError) as caught:
        say(strict_client, "fail:529", stream=True)
    assert_true_error(caught.value, 529, "overloaded_error")


def test_a_request_that_expired(strict_client):
    with pytest.raises(anthropic.GatewayTimeoutError) as caught:
        say(strict_client, "expire")
    assert_true_error(caught.value, 504, "timeout_error")
    assert caught.value.error_code == "batch_expired"


# ---- Betas ----


def test_beta_message(client):
    text = marker()
    raw = client.beta.messages.with_raw_response.create(
        **asking(f"echo:{text}"), betas=["context-management-2025-06-27"], context_management={"edits": []}
    )
    assert raw.http_request.headers["anthropic-beta"] == "context-management-2025-06-27"
    assert raw.headers["x-llm-proxy-route"] == "batch"
    assert texts_of(raw.parse()) == [text]


def test_the_beta_that_batches_alone_have(client):
    """So long an output is refused without the header, and wherever there is no batch."""
    text = marker()
    asked = asking(f"echo:{text}") | {"max_tokens": 200_000}
    with client.beta.messages.stream(**asked, betas=["output-300k-2026-03-24"]) as stream:
        assert texts_of(stream.get_final_message()) == [text]
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(**asked, timeout=SETTLE_SECONDS)
    assert "max_tokens: 200000 > 128000" in caught.value.api_message


def test_an_unknown_beta_is_refused_by_the_provider(client):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(**asking("hello"), betas=["nonsense"])
    assert_true_error(caught.value, 400, "invalid_request_error")
    assert "nonsense" in caught.value.api_message


# ---- Relay ----


def test_what_no_batch_takes_is_relayed(client):
    text = marker()
    raw = client.beta.messages.with_raw_response.create(
        **asking(f"echo:{text}"), speed="fast", betas=["fast-mode-2026-02-01"]
    )
    assert raw.headers["x-llm-proxy-route"] == "relay"
    assert "speed" in raw.headers["x-llm-proxy-relay-reason"]
    assert texts_of(raw.parse()) == [text]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_at_once_on_request(client, stream):
    text = marker()
    raw = say_raw(client, f"echo:{text}", stream=stream, extra_headers={"x-llm-proxy-mode": "sync"})
    assert raw.headers["x-llm-proxy-route"] == "sync"
    assert raw.headers["request-id"].startswith("req_")
    parsed = raw.parse()
    if stream:
        assert raw.headers["content-type"].startswith("text/event-stream")
        deltas = [event.delta for event in parsed if event.type == "content_block_delta"]
        assert "".join(delta.text for delta in deltas) == text
    else:
        assert texts_of(parsed) == [text]
        assert parsed.usage.service_tier == "standard"


def test_counting_of_tokens_is_relayed(client):
    asked = asking("hello")
    del asked["max_tokens"]
    for part in [client.messages, client.beta.messages]:
        raw = part.with_raw_response.count_tokens(**asked)
        assert raw.headers["x-llm-proxy-route"] == "relay"
        assert raw.parse().input_tokens > 0


def test_models_are_relayed(client):
    raw = client.models.with_raw_response.list()
    assert raw.headers["x-llm-proxy-route"] == "relay"
    assert MODEL in [model.id for model in raw.parse()]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-missing")


def test_batches_of_the_caller_are_relayed(client):
    texts = {f"line-{n}": marker() for n in range(3)}
    requests = [{"custom_id": name, "params": asking(f"echo:{text}")} for name, text in texts.items()]
    batches = client.messages.batches
    raw = batches.with_raw_response.create(requests=requests)
    assert raw.headers["x-llm-proxy-route"] == "relay"
    batch = raw.parse()
    assert batch.id in [listed.id for listed in batches.list()]
    poll("batch ended", SETTLE_SECONDS, lambda: batches.retrieve(batch.id).processing_status == "ended")
    results = {line.custom_id: line.result for line in batches.results(batch.id)}
    assert {result.type for result in results.values()} == {"succeeded"}
    assert {name: texts_of(result.message)[0] for name, result in results.items()} == texts
    assert batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        batches.retrieve(batch.id)


# ---- What is left at the provider ----


def test_batches_are_deleted_when_all_is_answered(deployment, client):
    raw = say_raw(client, f"echo:{marker()}")
    job = raw.headers["x-llm-proxy-job"]

    def deleted():
        [batch] = [batch for batch in deployment.state()["batches"] if batch["id"] == job]
        return batch["deleted"]

    poll("batch deleted", SETTLE_SECONDS, deleted)
