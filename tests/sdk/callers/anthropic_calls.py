"""What `calls.py` does, for clients that speak Anthropic's API."""

import calls


def options(call):
    """What every one of these clients is told, as in `calls.py`; they add the version to their base URL themselves."""
    patience = {} if call["timeout"] is None else {"timeout": call["timeout"]}
    origin = call["base_url"].removesuffix("/v1")
    # Each client has a key of its own: the provider is asked about the jobs of one key as seldom as the real one.
    return {"base_url": origin, "api_key": f"sk-ant-{call['key']}-{call['client']}-{call['api']}", **patience}


def arguments(call):
    asked = {"model": call["model"], "max_tokens": 1024, "messages": calls.messages(call)}
    return asked | ({"stream": True} if call["stream"] else {})


# ---- Anthropic ----


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def text_of_events(events):
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text_delta")


def part(client, call):
    return client.beta.messages if call["api"] == "beta" else client.messages


def anthropic_sync(call):
    import anthropic

    with anthropic.Anthropic(**options(call)) as client:
        answer = part(client, call).create(**arguments(call))
        return text_of_events(list(answer)) if call["stream"] else text_of(answer)


async def anthropic_async(call):
    import anthropic

    async with anthropic.AsyncAnthropic(**options(call)) as client:
        answer = await part(client, call).create(**arguments(call))
        return text_of_events([event async for event in answer]) if call["stream"] else text_of(answer)


# ---- LangChain ----


def langchain_model(call):
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=call["model"], **options(call))


def langchain_sync(call):
    model = langchain_model(call)
    return calls.langchain_text(model.stream(call["text"]) if call["stream"] else [model.invoke(call["text"])])


async def langchain_async(call):
    model = langchain_model(call)
    if call["stream"]:
        return calls.langchain_text([part async for part in model.astream(call["text"])])
    return calls.langchain_text([await model.ainvoke(call["text"])])


# ---- LiteLLM ----


def litellm_arguments(call):
    asked = {"model": f"anthropic/{call['model']}", "messages": calls.messages(call), "stream": call["stream"]}
    return asked | options(call)


def litellm_sync(call):
    from whole_litellm import litellm

    answer = litellm.completion(**litellm_arguments(call))
    return calls.chat_text(answer) if call["stream"] else answer.choices[0].message.content


async def litellm_async(call):
    from whole_litellm import litellm

    answer = await litellm.acompletion(**litellm_arguments(call))
    if call["stream"]:
        return calls.chat_text([chunk async for chunk in answer])
    return answer.choices[0].message.content


CLIENTS = {
    "anthropic": anthropic_sync,
    "anthropic-async": anthropic_async,
    "langchain_anthropic": langchain_sync,
    "langchain_anthropic-async": langchain_async,
    "litellm": litellm_sync,
    "litellm-async": litellm_async,
}

if __name__ == "__main__":
    calls.main(CLIENTS)
