"""The real packages for the Gemini API, `google-genai`, `langchain-google-genai` and LiteLLM, with base URL and key changed and nothing
else."""

import asyncio
import concurrent.futures
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from deployment import KEY, Deployment, marker, poll
from google import genai
from google.genai import errors, types
from langchain_core.exceptions import ModelNotFoundError, ModelRateLimitError
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from matrix import OPENAI2

# Its tail is the others' key, which is looked for in the logs.
GEMINI_KEY = f"AIza-{KEY}"
MODEL = "gemini-2.5-flash"
EMBEDDING_MODEL = "gemini-embedding-001"
CONCURRENT = 30
# The answer comes later than a patient client's limit.
LATE = "slow:7000"
LIMIT_MS = 3000
# With more a request does not travel in the creation of a batch.
INLINE_BYTES = 20_000_000
# Generous on purpose, as in `deployment`.
STARTED_SECONDS = 120
FAILURE = "The text asked for this failure."


@pytest.fixture(autouse=True)
def silent_shell(monkeypatch):
    """Without what the shell may say: the packages would read it."""
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GEMINI_"))]:
        monkeypatch.delenv(name)


def make_client(deployment, key=GEMINI_KEY, **more):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=deployment.origin, **more))


@pytest.fixture
def client(deployment):
    with make_client(deployment) as made:
        yield made


def generate(client, text, model=MODEL, **config):
    return client.models.generate_content(model=model, contents=text, config=config)


def stream(client, text, **config):
    return list(client.models.generate_content_stream(model=MODEL, contents=text, config=config))


def headers(answer):
    return answer.sdk_http_response.headers


def vector(text, dimensions):
    """What the simulated model embeds a text as."""
    digest = hashlib.sha256(text.encode()).digest()
    return pytest.approx([byte / 127.5 - 1 for byte in digest[:dimensions]], abs=1e-5)


# ---- Answers ----


def test_generate(client):
    text = marker()
    answer = generate(client, f"echo:{text}")
    assert answer.text == text
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.model_version == MODEL
    assert answer.usage_metadata.total_token_count > 0
    assert headers(answer)["x-llm-proxy-route"] == "batch"
    assert headers(answer)["x-llm-proxy-job"].startswith("batches/")
    assert int(headers(answer)["x-llm-proxy-queued-ms"]) >= 0


def test_where_to_and_who_from_the_environment(deployment, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", deployment.origin)
    monkeypatch.setenv("GEMINI_API_KEY", GEMINI_KEY)
    text = marker()
    with genai.Client() as client:
        assert generate(client, f"echo:{text}").text == text


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_both_versions_of_the_api(deployment, version):
    text = marker()
    with make_client(deployment, api_version=version) as client:
        answer = generate(client, f"echo:{text}")
    assert answer.text == text and headers(answer)["x-llm-proxy-route"] == "batch"


def test_unicode_is_answered_in_it(client):
    text = marker() + '-žluťoučký-🦀-"quoted"-\\'
    assert generate(client, f"echo:{text}").text == text


def test_system_instruction_and_conversation(client):
    text = marker()
    chat = client.chats.create(model=MODEL, config={"system_instruction": "Be brief.", "temperature": 0})
    assert chat.send_message("echo:first").text == "first"
    assert chat.send_message(f"echo:{text}").text == text
    assert len(chat.get_history()) == 4


def test_function_calls(client):
    text = marker()
    answer = generate(client, f"echo:{text} call:left call:right", **tools())
    assert [(call.name, call.args) for call in answer.function_calls] == [
        ("left", {"text": text}),
        ("right", {"text": text}),
    ]


def tools():
    parameters = {"type": "OBJECT", "properties": {"text": {"type": "STRING"}}}
    return {"tools": [{"function_declarations": [{"name": n, "parameters": parameters} for n in ["left", "right"]]}]}


def test_concurrent_calls_get_their_own_answers(deployment):
    texts = [marker() for _ in range(CONCURRENT)]

    async def call_all():
        async with make_client(deployment).aio as client:
            return await asyncio.gather(*(generate(client, f"echo:{text}") for text in texts))

    answers = asyncio.run(call_all())
    assert [answer.text for answer in answers] == texts
    assert len({answer.response_id for answer in answers}) == CONCURRENT


def test_async_stream(deployment):
    text = marker()

    async def call():
        async with make_client(deployment).aio as client:
            chunks = await client.models.generate_content_stream(model=MODEL, contents=f"echo:{text}")
            return "".join([chunk.text or "" async for chunk in chunks])

    assert asyncio.run(call()) == text


def test_large_and_small_requests_at_once(deployment, client):
    """The large one makes a batch by file, the others travel in the creation of theirs."""
    uploads = deployment.state()["ops"].get("start_upload", 0)
    texts = [marker() for _ in range(4)]
    sizes = [INLINE_BYTES, 1_000_000, 10, 10]
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(texts)) as threads:
        asked = [["x" * size, f"echo:{text}"] for size, text in zip(sizes, texts)]
        answers = list(threads.map(lambda contents: generate(client, contents), asked))
    assert [answer.text for answer in answers] == texts
    assert {headers(answer)["x-llm-proxy-route"] for answer in answers} == {"batch"}
    state, lines = deployment.settled_state(), deployment.lines()
    assert state["ops"]["start_upload"] > uploads and state["files_left"] == 0
    assert [[line["billed"] for line in lines[text]] for text in texts] == [[True]] * len(texts)


# ---- Streams ----

# Orders to the simulated model, and the call's configuration.
STREAMS = {
    "text": ("size:300", {}),
    "function calls": ("call:left call:right", tools()),
    "two candidates": ("", {"candidate_count": 2}),
    "refusal": ("refuse", {}),
}


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_makes_up_the_answer(client, case):
    order, config = STREAMS[case]
    text, streamed_text = marker(), marker()
    whole = generate(client, f"echo:{text} {order}", **config)
    chunks = stream(client, f"echo:{streamed_text} {order}", **config)
    assert headers(chunks[0])["x-llm-proxy-route"] == "batch"
    assert headers(chunks[0])["content-type"].startswith("text/event-stream")
    assert len({chunk.response_id for chunk in chunks}) == 1
    assert made_up(chunks, streamed_text) == made_up([whole], text)
    assert chunks[-1].usage_metadata == whole.usage_metadata


def made_up(chunks, text):
    """Text, function calls and end of every candidate."""
    candidates = {}
    for part in [candidate for chunk in chunks for candidate in chunk.candidates]:
        said, calls, ends = candidates.setdefault(part.index, ([], [], []))
        parts = (part.content and part.content.parts) or []
        said += [one.text for one in parts if one.text]
        calls += [one.function_call.model_dump_json().replace(text, "TEXT") for one in parts if one.function_call]
        ends += [part.finish_reason] if part.finish_reason else []
    return {index: ("".join(said).replace(text, "TEXT"), *more) for index, (said, *more) in candidates.items()}


# ---- Errors ----


def assert_true_error(error, status, name):
    assert (error.code, error.status) == (status, name)
    assert error.message
    # A key or model without batches is tried alone before its error is told.
    assert error.response.headers["x-llm-proxy-route"] in ("batch", "sync")


@pytest.mark.parametrize("way", [generate, stream])
@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (400, "INVALID_ARGUMENT", errors.ClientError),
        (404, "NOT_FOUND", errors.ClientError),
        (429, "RESOURCE_EXHAUSTED", errors.ClientError),
        (500, "INTERNAL", errors.ServerError),
        (503, "UNAVAILABLE", errors.ServerError),
    ],
)
def test_status_of_a_line_is_the_status_of_the_answer(client, way, status, name, expected):
    with pytest.raises(expected) as caught:
        way(client, f"fail:{status}")
    assert_true_error(caught.value, status, name)
    assert caught.value.response.headers["x-llm-proxy-job"].startswith("batches/")


def test_a_line_that_the_provider_cancelled(client):
    with pytest.raises(errors.ServerError) as caught:
        generate(client, "expire")
    assert_true_error(caught.value, 503, "UNAVAILABLE")
    assert caught.value.details["error"]["details"][0]["reason"] == "BATCH_CANCELLED"


def test_invalid_key(deployment):
    with make_client(deployment, "AIza-invalid-key-of-a-test") as client, pytest.raises(errors.ClientError) as caught:
        generate(client, "hello")
    assert_true_error(caught.value, 400, "INVALID_ARGUMENT")
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert "key-of-a-test" not in str(caught.value)


def test_key_without_permission_to_batch(deployment):
    text = marker()
    with make_client(deployment, "AIza-nobatch-of-a-test") as client:
        answer = generate(client, f"echo:{text}")
    assert answer.text == text
    assert headers(answer)["x-llm-proxy-route"] == "sync"
    assert headers(answer)["x-llm-proxy-relay-reason"] == "unbatchable"


def test_unknown_model(client):
    with pytest.raises(errors.ClientError) as caught:
        generate(client, "hello", model="no-such-model")
    assert_true_error(caught.value, 404, "NOT_FOUND")
    assert "no-such-model" in caught.value.message


def test_unknown_field():
    """In a deployment of its own: the simulated provider takes the refused creation for a careless client's."""
    with Deployment("serve") as running, make_client(running) as client:
        with pytest.raises(errors.ClientError) as caught:
            generate(client, "hello", http_options={"extra_body": {"nonsense": 1}})
        assert_true_error(caught.value, 400, "INVALID_ARGUMENT")
        assert "nonsense" in caught.value.message
        text = marker()
        assert generate(client, f"echo:{text}").text == text


# ---- Waiting ----


def test_a_client_outlives_its_limit(deployment):
    text, streamed_text = marker(), marker()
    with make_client(deployment, timeout=LIMIT_MS) as client:
        with concurrent.futures.ThreadPoolExecutor() as threads:
            whole = threads.submit(generate, client, f"echo:{text} {LATE}")
            chunks = threads.submit(stream, client, f"echo:{streamed_text} {LATE}")
            refused = threads.submit(stream, client, f"echo:{marker()} {LATE} fail:400")
            assert whole.result().text == text
            assert "".join(chunk.text or "" for chunk in chunks.result()) == streamed_text
            with pytest.raises(errors.ClientError) as caught:
                refused.result()
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert FAILURE in caught.value.message
    lines = deployment.lines()
    assert [[line["billed"] for line in lines[one]] for one in [text, streamed_text]] == [[True]] * 2


# The key and the address come from the environment.
SCRIPT = """
import sys
from google import genai

model, text = sys.argv[1:]
with genai.Client() as client:
    print(client.models.generate_content(model=model, contents=text).text)
"""


def test_a_killed_script_that_is_run_again_collects_its_answer(deployment):
    model, text = "gemini-3-pro-preview", marker()
    env = os.environ | {"GOOGLE_GEMINI_BASE_URL": deployment.origin, "GEMINI_API_KEY": GEMINI_KEY}
    command = [sys.executable, "-c", SCRIPT, model, f"echo:{text} slow:5000"]

    def is_running():
        return any(job["model"] == model and job["status"] == "in_progress" for job in deployment.state()["batches"])

    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as script:
        poll("job in progress", STARTED_SECONDS, is_running)
        script.send_signal(signal.SIGKILL)
        assert script.wait() == -signal.SIGKILL and script.stdout.read() == ""
    again = subprocess.run(command, env=env, text=True, timeout=STARTED_SECONDS, capture_output=True)
    assert again.stdout == f"{text}\n", again.stderr
    assert [line["billed"] for line in deployment.lines()[text]] == [True]


# ---- Plain HTTP ----


def post(deployment, path, body, key=GEMINI_KEY):
    query = f"{'&' if '?' in path else '?'}key={key}" if key else ""
    data, kind = json.dumps(body).encode(), {"content-type": "application/json"}
    request = urllib.request.Request(f"{deployment.origin}{path}{query}", data, kind)
    with urllib.request.urlopen(request, timeout=STARTED_SECONDS) as answer:
        assert answer.headers["x-llm-proxy-route"] == "batch"
        assert answer.headers["x-llm-proxy-job"].startswith("batches/")
        return answer.read().decode()


def saying(text):
    return {"contents": [{"parts": [{"text": f"echo:{text}"}]}]}


def said(answer):
    return answer["candidates"][0]["content"]["parts"][0]["text"]


def test_the_key_in_the_query(deployment):
    text = marker()
    assert said(json.loads(post(deployment, f"/v1beta/models/{MODEL}:generateContent", saying(text)))) == text


def test_a_stream_as_events_and_as_an_array(deployment):
    path = f"/v1beta/models/{MODEL}:streamGenerateContent"
    text = marker()
    events = post(deployment, f"{path}?alt=sse", saying(text)).split()
    assert events[0] == "data:" and text in "".join(events)
    text = marker()
    assert "".join(map(said, json.loads(post(deployment, path, saying(text))))) == text


def test_an_embedding_of_one_content_is_batched(deployment):
    text = marker()
    asked = {"content": {"parts": [{"text": text}]}, "outputDimensionality": 8}
    answer = json.loads(post(deployment, f"/v1beta/models/{EMBEDDING_MODEL}:embedContent", asked))
    assert answer["embedding"]["values"] == vector(text, 8)


def test_missing_key(deployment):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(deployment, f"/v1beta/models/{MODEL}:generateContent", saying("hello"), key=None)
    error = json.load(caught.value)["error"]
    assert (caught.value.code, error["code"], error["status"]) == (403, 403, "PERMISSION_DENIED")


# ---- Relay ----


@pytest.mark.parametrize("count", [1, 3])
def test_embeddings_of_the_package_are_relayed(client, count):
    """It asks for a list of embeddings even for one content, and batches cannot give one."""
    texts = [marker() for _ in range(count)]
    answer = client.models.embed_content(model=EMBEDDING_MODEL, contents=texts, config={"output_dimensionality": 8})
    assert headers(answer)["x-llm-proxy-route"] == "relay"
    for text, embedding in zip(texts, answer.embeddings, strict=True):
        assert embedding.values == vector(text, 8)


def test_counting_of_tokens_is_relayed(client):
    answer = client.models.count_tokens(model=MODEL, contents=marker())
    assert headers(answer)["x-llm-proxy-route"] == "relay"
    assert answer.total_tokens > 0


def test_models_are_relayed(client):
    pager = client.models.list()
    assert headers(pager)["x-llm-proxy-route"] == "relay"
    assert f"models/{MODEL}" in [model.name for model in pager]
    assert client.models.get(model=MODEL).name == f"models/{MODEL}"


def test_a_stream_is_the_providers_own_on_request(client):
    text = marker()
    own = {"headers": {"x-llm-proxy-mode": "sync"}}
    chunks = stream(client, f"echo:{text}", http_options=own)
    assert headers(chunks[0])["x-llm-proxy-route"] == "sync"
    assert "".join(chunk.text or "" for chunk in chunks) == text


def upload(client, content, name):
    return client.files.upload(
        file=io.BytesIO(content), config={"mime_type": "application/jsonl", "display_name": name}
    )


def test_a_file_is_relayed_in_chunks(client):
    content = b"x" * 10_000_000
    uploaded = upload(client, content, marker())
    try:
        assert client.files.get(name=uploaded.name).size_bytes == len(content)
        assert uploaded.name in [file.name for file in client.files.list()]
    finally:
        client.files.delete(name=uploaded.name)
    assert uploaded.name not in [file.name for file in client.files.list()]


def ended(client, batch):
    return poll("the batch", STARTED_SECONDS, lambda: (got := client.batches.get(name=batch.name)).done and got)


def test_a_batch_of_the_callers_own_is_relayed(client):
    texts = [marker(), marker()]
    batch = client.batches.create(model=MODEL, src=[saying(text) for text in texts])
    assert batch.name in [listed.name for listed in client.batches.list()]
    done = ended(client, batch)
    assert done.state == types.JobState.JOB_STATE_SUCCEEDED
    assert [one.response.text for one in done.dest.inlined_responses] == texts
    client.batches.delete(name=batch.name)


def test_a_batch_of_the_callers_own_file_is_relayed(client):
    texts = {marker(): marker() for _ in range(2)}
    lines = [json.dumps({"key": key, "request": saying(text)}) for key, text in texts.items()]
    source = upload(client, "\n".join(lines).encode(), marker())
    done = ended(client, client.batches.create(model=MODEL, src=source.name))
    results = client.files.download(file=done.dest.file_name).decode()
    # Not with `splitlines`: answers may hold other characters that end a line for it.
    read = [json.loads(line) for line in results.split("\n") if line]
    assert {result["key"]: said(result["response"]) for result in read} == texts
    client.batches.delete(name=done.name)
    for name in [source.name, done.dest.file_name]:
        client.files.delete(name=name)


# ---- LangChain ----


def langchain(deployment, **more):
    return ChatGoogleGenerativeAI(
        **{"model": MODEL, "google_api_key": GEMINI_KEY, "base_url": deployment.origin, **more}
    )


def test_langchain(deployment):
    model = langchain(deployment)
    texts = [marker() for _ in range(4)]

    async def later():
        streamed = [part.text async for part in model.astream(f"echo:{texts[3]}")]
        return [(await model.ainvoke(f"echo:{texts[2]}")).text, "".join(streamed)]

    answers = [
        model.invoke(f"echo:{texts[0]}").text,
        "".join(part.text for part in model.stream(f"echo:{texts[1]}")),
        *asyncio.run(later()),
    ]
    assert answers == texts
    text = marker()
    called = model.invoke(f"echo:{text} call:left").tool_calls
    assert [(call["name"], call["args"]) for call in called] == [("left", {"text": text})]


def test_langchain_embeddings(deployment):
    text = marker()
    model = GoogleGenerativeAIEmbeddings(
        model=EMBEDDING_MODEL, google_api_key=GEMINI_KEY, base_url=deployment.origin, output_dimensionality=8
    )
    assert model.embed_query(text) == vector(text, 8)


def test_errors_of_langchain(deployment):
    with pytest.raises(ModelNotFoundError):
        langchain(deployment, model="no-such-model").invoke("hello")
    with pytest.raises(ModelRateLimitError):
        langchain(deployment, max_retries=1).invoke("fail:429")


# ---- LiteLLM ----

# Makes the calls that it reads from standard input and prints what came of each.
LITELLM = """
import json, sys
import litellm

def make(call):
    try:
        answer = litellm.completion(**call)
        if not call["stream"]:
            return answer.choices[0].message.content
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
    except Exception as error:
        return [type(error).__name__, str(error)]

json.dump([make(call) for call in json.load(sys.stdin)], sys.stdout)
"""


def litellm(deployment, calls):
    """What came of calls, each given as text, stream and what else differs; errors as type and message."""
    usual = {"model": f"gemini/{MODEL}", "api_base": deployment.origin, "api_key": GEMINI_KEY}
    asked = [
        {**usual, "messages": [{"role": "user", "content": text}], "stream": stream, **more}
        for text, stream, more in calls
    ]
    # It would look up prices elsewhere.
    env = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [OPENAI2, "-c", f"import litellm, litellm.litellm_core_utils.default_encoding\nlitellm.suppress_debug_info = True\n{LITELLM}"]
    ran = subprocess.run(
        command, input=json.dumps(asked), env=env, text=True, timeout=STARTED_SECONDS, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_litellm(deployment):
    texts = [marker() for _ in range(4)]
    bases = [deployment.origin, f"{deployment.origin}/v1beta"]
    ways = [(stream, {"api_base": base}) for base in bases for stream in [False, True]]
    assert litellm(deployment, [(f"echo:{text}", *way) for text, way in zip(texts, ways)]) == texts
    lines = deployment.lines()
    assert [[line["mode"] for line in lines[text]] for text in texts] == [["batch"]] * len(texts)


def test_errors_of_litellm(deployment):
    came = litellm(
        deployment,
        [
            ("fail:400", False, {}),
            ("fail:429", False, {}),
            ("fail:500", False, {}),
            ("hello", False, {"model": "gemini/no-such-model"}),
            ("hello", True, {"api_key": "AIza-invalid-key-of-a-test"}),
        ],
    )
    assert [kind for kind, _ in came] == [
        "BadRequestError",
        "RateLimitError",
        "InternalServerError",
        "NotFoundError",
        "AuthenticationError",
    ]
    assert FAILURE in came[0][1] and "no-such-model" in came[3][1]
