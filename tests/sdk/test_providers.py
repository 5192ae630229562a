"""Clients of the providers that have a name in their paths, with base URL and key changed and nothing else: their own packages,
OpenAI's, LangChain, LiteLLM and the AI SDK."""

import dataclasses

import pytest
from matrix import Call, make_all

NOW, BEFORE = "python-providers", "python-providers-before"
PROVIDERS = ["azure", "compat", "groq", "mistral", "openrouter", "together", "xai"]
# Where streams have no usage for those who do not ask for it, as OpenAI's package.
SILENT = ["azure", "compat"]


def calls(program, client, *providers, api="chat", is_async=(False, True)):
    # A deployment that takes batches at Azure, or in its older paths one that `--config` has another for; the others know any.
    usual = {"timeout": None, "model": "a-model-batch" if api != "deployments" else "gpt-4o", "api": api}
    return [
        Call(program, f"{client}-async" if later else client, stream=stream, provider=provider, **usual)
        for provider in providers
        for later in is_async
        for stream in [False, True]
    ]


CALLS = [
    *calls(NOW, "openai", *PROVIDERS, is_async=[False]),
    *calls(NOW, "openai", "azure", api="deployments"),
    *calls(NOW, "langchain_openai", "azure", api="deployments"),
    *calls(NOW, "groq", "groq"),
    *calls(NOW, "mistralai", "mistral"),
    *calls(NOW, "openrouter", "openrouter"),
    *calls(NOW, "together", "together"),
    *calls(NOW, "langchain_mistralai", "mistral"),
    *calls(NOW, "langchain_openrouter", "openrouter"),
    *calls(NOW, "langchain_together", "together"),
    *calls(NOW, "langchain_xai", "xai"),
    *calls(BEFORE, "groq", "groq"),
    *calls(BEFORE, "langchain_groq", "groq"),
    *calls(BEFORE, "litellm", "groq", "mistral", "openrouter", "together", "xai"),
    *calls(BEFORE, "litellm", "azure", api="deployments"),
    *calls("node", "ai", "azure", "groq", "mistral", "openrouter", "together", "xai", api="default", is_async=[False]),
]
# LiteLLM goes by an error's words rather than by its status.
PLAIN = [call for call in CALLS if not call.stream and not call.client.endswith("-async") and call.client != "litellm"]
# What nobody sends again.
REFUSED = [
    (dataclasses.replace(call, words=f"fail:{status}"), status)
    for status, some in [(400, CALLS), (404, PLAIN)]
    for call in some
]

# What the packages raise; those that are not named raise what OpenAI's does.
LIKE_OPENAI = {400: "BadRequestError", 404: "NotFoundError", 422: "UnprocessableEntityError"}
OPENROUTER = {400: "BadRequestResponseError", 404: "NotFoundResponseError"}
RAISED = {
    "ai": dict.fromkeys([400, 404, 422], "APICallError"),
    "langchain_mistralai": dict.fromkeys([404, 422], "HTTPStatusError"),
    "langchain_openrouter": OPENROUTER,
    "litellm": dict.fromkeys([400, 422], "BadRequestError"),
    "mistralai": {404: "SDKError", 422: "HTTPValidationError"},
    "openrouter": OPENROUTER,
}


def package(call):
    return call.client.removesuffix("-async")


@pytest.fixture(scope="session")
def outcomes(deployment):
    """What came of all calls, which are made at once, and their lines at the provider."""
    return make_all(deployment, [*CALLS, *(call for call, _ in REFUSED)]), deployment.lines()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_an_answer(outcomes, call):
    outcome = outcomes[0][call]
    outcome.assert_answered()
    # LiteLLM keeps it to itself, also what it was told.
    has_no_usage = call.stream and (package(call) == "litellm" or package(call) == "openai" and call.provider in SILENT)
    assert has_no_usage == (outcome.tokens is None) and outcome.tokens != 0
    lines = outcomes[1][outcome.marker]
    assert [(line["billed"], line["mode"], line["provider"]) for line in lines] == [(True, "batch", call.provider)]


@pytest.mark.parametrize(("call", "status"), REFUSED, ids=str)
def test_an_error(outcomes, call, status):
    outcome = outcomes[0][call]
    # A mistake in a body has a status of its own at Mistral.
    expected = 422 if (call.provider, status) == ("mistral", 400) else status
    assert outcome.error and outcome.text is None
    assert outcome.error["status"] == expected, outcome
    assert RAISED.get(package(call), LIKE_OPENAI)[expected] in outcome.error["types"], outcome
    lines = outcomes[1][outcome.marker]
    assert [(line["status"], line["billed"], line["mode"]) for line in lines] == [(expected, False, "batch")]
