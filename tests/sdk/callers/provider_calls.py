"""What `calls.py` does, for clients of providers that have a name in their paths, and with the usage that they tell."""

import importlib
import os
import threading
from unittest import mock

import calls

# The classes of a package, plain and async, and what the environment calls its base URL and key.
PACKAGES = {
    "openai": ("OpenAI", "AsyncOpenAI", "OPENAI"),
    "groq": ("Groq", "AsyncGroq", "GROQ"),
    "together": ("Together", "AsyncTogether", "TOGETHER"),
}
LANGCHAIN = {
    "langchain_groq": "ChatGroq",
    "langchain_mistralai": "ChatMistralAI",
    "langchain_openai": "ChatOpenAI",
    "langchain_openrouter": "ChatOpenRouter",
    "langchain_together": "ChatTogether",
    "langchain_xai": "ChatXAI",
}
# What LiteLLM calls a provider before a model's name, where that is not the provider's name here.
LITELLM = {"together": "together_ai"}
# These put the version into paths themselves.
WITHOUT_VERSION = ["groq", "together", "mistralai", "langchain_groq"]
AZURE_VERSION = "2024-10-21"
ENVIRONMENT = threading.Lock()


def base_url(call):
    name = call["client"].removesuffix("-async")
    is_without = name in WITHOUT_VERSION or call["api"] == "deployments"
    return call["base_url"].removesuffix("/v1") if is_without else call["base_url"]


def arguments(call):
    return {"model": call["model"], "messages": calls.messages(call)}


def azure(call):
    """What clients are told that write the paths of Azure's deployments."""
    return {"azure_endpoint": base_url(call), "api_key": call["key"], "api_version": AZURE_VERSION}


# ---- Answers ----


def answer_of(answer):
    return {"text": answer.choices[0].message.content, "tokens": answer.usage.total_tokens}


def answer_of_chunks(chunks):
    tokens = [tokens for chunk in chunks if (tokens := tokens_of(chunk.model_dump()))]
    return {"text": calls.chat_text(chunks), "tokens": tokens[-1] if tokens else None}


def tokens_of(chunk):
    # Groq has it in a place of its own.
    usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    return usage and usage["total_tokens"]


# ---- OpenAI, Groq, Together ----


def client_of(call, is_async):
    """A client that is told where to and who in its arguments, or, an async one of the two others, in the environment."""
    package = call["client"].removesuffix("-async")
    module = importlib.import_module(package)
    if call["api"] == "deployments":
        return (module.AsyncAzureOpenAI if is_async else module.AzureOpenAI)(**azure(call))
    *kinds, prefix = PACKAGES[package]
    make = getattr(module, kinds[is_async])
    if package == "openai" or not is_async:
        return make(base_url=base_url(call), api_key=call["key"])
    told = {f"{prefix}_BASE_URL": base_url(call), f"{prefix}_API_KEY": call["key"]}
    with ENVIRONMENT, mock.patch.dict(os.environ, told):
        return make()


def chat(call):
    with client_of(call, False) as client:
        if call["stream"]:
            return answer_of_chunks(list(client.chat.completions.create(**arguments(call), stream=True)))
        return answer_of(client.chat.completions.create(**arguments(call)))


async def chat_async(call):
    async with client_of(call, True) as client:
        if call["stream"]:
            chunks = await client.chat.completions.create(**arguments(call), stream=True)
            return answer_of_chunks([chunk async for chunk in chunks])
        return answer_of(await client.chat.completions.create(**arguments(call)))


# ---- Mistral ----


def mistral_client(call):
    from mistralai.client import Mistral

    return Mistral(server_url=base_url(call), api_key=call["key"])


def mistral(call):
    with mistral_client(call) as client:
        if call["stream"]:
            return answer_of_chunks([event.data for event in client.chat.stream(**arguments(call))])
        return answer_of(client.chat.complete(**arguments(call)))


async def mistral_async(call):
    async with mistral_client(call) as client:
        if call["stream"]:
            events = await client.chat.stream_async(**arguments(call))
            return answer_of_chunks([event.data async for event in events])
        return answer_of(await client.chat.complete_async(**arguments(call)))


# ---- OpenRouter ----


def openrouter_client(call):
    from openrouter import OpenRouter

    return OpenRouter(server_url=base_url(call), api_key=call["key"])


def openrouter(call):
    with openrouter_client(call) as client:
        answer = client.chat.send(**arguments(call), stream=call["stream"])
        return answer_of_chunks(list(answer)) if call["stream"] else answer_of(answer)


async def openrouter_async(call):
    async with openrouter_client(call) as client:
        answer = await client.chat.send_async(**arguments(call), stream=call["stream"])
        return answer_of_chunks([chunk async for chunk in answer]) if call["stream"] else answer_of(answer)


# ---- LangChain ----


def langchain_model(call):
    package = call["client"].removesuffix("-async")
    module = importlib.import_module(package)
    if call["api"] == "deployments":
        return module.AzureChatOpenAI(azure_deployment=call["model"], **azure(call))
    return getattr(module, LANGCHAIN[package])(model=call["model"], base_url=base_url(call), api_key=call["key"])


def langchain_answer(parts):
    tokens = [part.usage_metadata["total_tokens"] for part in parts if part.usage_metadata]
    return {"text": calls.langchain_text(parts), "tokens": tokens[-1] if tokens else None}


def langchain(call):
    model = langchain_model(call)
    return langchain_answer(list(model.stream(call["text"])) if call["stream"] else [model.invoke(call["text"])])


async def langchain_async(call):
    model = langchain_model(call)
    if call["stream"]:
        return langchain_answer([part async for part in model.astream(call["text"])])
    return langchain_answer([await model.ainvoke(call["text"])])


# ---- LiteLLM ----


def litellm_arguments(call):
    provider = LITELLM.get(call["provider"], call["provider"])
    told = {"api_base": base_url(call), "api_key": call["key"], "stream": call["stream"]}
    version = {"api_version": AZURE_VERSION} if call["api"] == "deployments" else {}
    return arguments(call) | {"model": f"{provider}/{call['model']}"} | told | version


def litellm_sync(call):
    from whole_litellm import litellm

    answer = litellm.completion(**litellm_arguments(call))
    return answer_of_chunks(list(answer)) if call["stream"] else answer_of(answer)


async def litellm_async(call):
    from whole_litellm import litellm

    answer = await litellm.acompletion(**litellm_arguments(call))
    return answer_of_chunks([chunk async for chunk in answer]) if call["stream"] else answer_of(answer)


WAYS = {
    **dict.fromkeys(PACKAGES, (chat, chat_async)),
    **dict.fromkeys(LANGCHAIN, (langchain, langchain_async)),
    "litellm": (litellm_sync, litellm_async),
    "mistralai": (mistral, mistral_async),
    "openrouter": (openrouter, openrouter_async),
}
CLIENTS = {name: plain for name, (plain, _) in WAYS.items()} | {f"{name}-async": late for name, (_, late) in WAYS.items()}

if __name__ == "__main__":
    calls.main(CLIENTS)
