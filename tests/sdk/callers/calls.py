"""Makes the calls that it reads from standard input, all at once, each with a client of its own, and prints what came of
each.

It runs in more than one Python environment, so that it imports a package when a call wants it, and nothing of the tests.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import sys


def messages(call):
    return [{"role": "user", "content": call["text"]}]


def options(call):
    """What every one of these clients is told; nothing but where to, who, and how patient, where that is not left to it."""
    patience = {} if call["timeout"] is None else {"timeout": call["timeout"]}
    return {"base_url": call["base_url"], "api_key": call["key"], **patience}


# ---- OpenAI ----


def chat_text(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def completion_text(chunks):
    return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)


def response_text(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


# The part of a client that an endpoint belongs to, what reads a whole answer, and what reads a stream.
APIS = {
    "chat": (lambda client: client.chat.completions, lambda answer: answer.choices[0].message.content, chat_text),
    "completions": (lambda client: client.completions, lambda answer: answer.choices[0].text, completion_text),
    "responses": (lambda client: client.responses, lambda answer: answer.output_text, response_text),
}


def openai_arguments(call):
    asked = {"model": call["model"]} | ({"stream": True} if call["stream"] else {})
    if call["api"] == "chat":
        return asked | {"messages": messages(call)}
    if call["api"] == "responses":
        return asked | {"input": call["text"]}
    return asked | {"model": "gpt-3.5-turbo-instruct", "prompt": call["text"]}


def openai_sync(call):
    import openai

    part, whole, streamed = APIS[call["api"]]
    with openai.OpenAI(**options(call)) as client:
        answer = part(client).create(**openai_arguments(call))
        return streamed(list(answer)) if call["stream"] else whole(answer)


async def openai_async(call):
    import openai

    part, whole, streamed = APIS[call["api"]]
    async with openai.AsyncOpenAI(**options(call)) as client:
        answer = await part(client).create(**openai_arguments(call))
        return streamed([chunk async for chunk in answer]) if call["stream"] else whole(answer)


# ---- LangChain ----


def langchain_model(call):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=call["model"], use_responses_api=call["api"] == "responses", **options(call))


def langchain_text(parts):
    # Where the text of a part stands depends on the API; `text` hides that.
    return "".join(str(part.text) for part in parts)


def langchain_sync(call):
    model = langchain_model(call)
    return langchain_text(model.stream(call["text"]) if call["stream"] else [model.invoke(call["text"])])


async def langchain_async(call):
    model = langchain_model(call)
    if call["stream"]:
        return langchain_text([part async for part in model.astream(call["text"])])
    return langchain_text([await model.ainvoke(call["text"])])


# ---- LiteLLM ----


def litellm_arguments(call):
    return {"model": f"openai/{call['model']}", "messages": messages(call), "stream": call["stream"], **options(call)}


def litellm_sync(call):
    from whole_litellm import litellm

    answer = litellm.completion(**litellm_arguments(call))
    return chat_text(answer) if call["stream"] else answer.choices[0].message.content


async def litellm_async(call):
    from whole_litellm import litellm

    answer = await litellm.acompletion(**litellm_arguments(call))
    if call["stream"]:
        return chat_text([chunk async for chunk in answer])
    return answer.choices[0].message.content


# ---- Instructor ----


def instructor_arguments(call):
    import pydantic

    said = pydantic.create_model("Said", text=(str, ...))
    # The simulated model calls the tool that Instructor makes of this type.
    asked = messages(call | {"text": f"{call['text']} call:Said"})
    return {"model": call["model"], "messages": asked, "response_model": said}


def instructor_sync(call):
    import instructor
    import openai

    with openai.OpenAI(**options(call)) as client:
        asked = instructor.from_openai(client).chat.completions
        if call["stream"]:
            return list(asked.create_partial(**instructor_arguments(call)))[-1].text
        return asked.create(**instructor_arguments(call)).text


async def instructor_async(call):
    import instructor
    import openai

    async with openai.AsyncOpenAI(**options(call)) as client:
        asked = instructor.from_openai(client).chat.completions
        if call["stream"]:
            return [said async for said in asked.create_partial(**instructor_arguments(call))][-1].text
        return (await asked.create(**instructor_arguments(call))).text


# ---- All of them ----

CLIENTS = {
    "openai": openai_sync,
    "openai-async": openai_async,
    "langchain": langchain_sync,
    "langchain-async": langchain_async,
    "litellm": litellm_sync,
    "litellm-async": litellm_async,
    "instructor": instructor_sync,
    "instructor-async": instructor_async,
}


def told(error):
    """An exception as the tests look at it."""
    response = getattr(error, "response", None)
    request = None
    with contextlib.suppress(RuntimeError, AttributeError):
        request = response.request
    return {
        "types": [kind.__name__ for kind in type(error).__mro__],
        "status": getattr(error, "status_code", None) or getattr(response, "status_code", None),
        "code": getattr(error, "code", None),
        "message": str(error),
        "retries": request.headers.get("x-stainless-retry-count") if request else None,
    }


async def make(call, clients, threads):
    client = clients[call["client"]]
    try:
        if asyncio.iscoroutinefunction(client):
            answer = await client(call)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(threads, client, call)
        return answer if isinstance(answer, dict) else {"text": answer}
    except Exception as error:
        return {"error": told(error)}


async def make_all(calls, clients):
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return await asyncio.gather(*(make(call, clients, threads) for call in calls))


def main(clients):
    calls = json.load(sys.stdin)
    # Packages print at will; only the results belong to standard output.
    with contextlib.redirect_stdout(sys.stderr):
        # Imports take seconds, and must not take them from a call's patience.
        for module in {call["client"].removesuffix("-async") for call in calls} | {"openai"}:
            __import__({"langchain": "langchain_openai"}.get(module, module))
        results = asyncio.run(make_all(calls, clients))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(CLIENTS)
