"""One call by every client that the environment alone tells where its provider is, made as its documentation shows it; prints
what each answered. It runs in more than one Python environment, and imports a package when a call wants it."""

import concurrent.futures
import importlib
import json
import sys

CLAUDE, GEMINI, GPT, OPEN = "claude-haiku-4-5", "gemini-2.5-flash", "gpt-4o-mini", "a-model"


def openai(asked):
    from openai import OpenAI

    return OpenAI().chat.completions.create(model=GPT, messages=asked).choices[0].message.content


def azure(asked):
    from openai import AzureOpenAI

    return AzureOpenAI().chat.completions.create(model="gpt-4o", messages=asked).choices[0].message.content


def anthropic(asked):
    from anthropic import Anthropic

    return Anthropic().messages.create(model=CLAUDE, max_tokens=99, messages=asked).content[0].text


def google(asked):
    from google import genai

    with genai.Client() as client:
        return client.models.generate_content(model=GEMINI, contents=asked[0]["content"]).text


def groq(asked):
    from groq import Groq

    return Groq().chat.completions.create(model=OPEN, messages=asked).choices[0].message.content


def together(asked):
    from together import Together

    return Together().chat.completions.create(model=OPEN, messages=asked).choices[0].message.content


def langchain(package, name, **arguments):
    def call(asked):
        made = getattr(__import__(package), name)(**arguments)
        return made.invoke(asked[0]["content"]).text

    return call


def litellm(model):
    def call(asked):
        from whole_litellm import litellm

        return litellm.completion(model=model, messages=asked).choices[0].message.content

    return call


# Not left to the calls: imports at the same time get in each other's way.
MODULES = {
    "now": [
        *("openai", "anthropic", "google.genai", "groq", "together", "langchain_openai", "langchain_anthropic"),
        *("langchain_google_genai", "langchain_mistralai", "langchain_openrouter", "langchain_together", "langchain_xai"),
    ],
    "before": ["langchain_groq", "litellm"],
}
CLIENTS = {
    "now": {
        "openai": openai,
        "azure": azure,
        "anthropic": anthropic,
        "google": google,
        "groq": groq,
        "together": together,
        "langchain-openai": langchain("langchain_openai", "ChatOpenAI", model=GPT),
        "langchain-azure": langchain("langchain_openai", "AzureChatOpenAI", azure_deployment="gpt-4o"),
        "langchain-anthropic": langchain("langchain_anthropic", "ChatAnthropic", model=CLAUDE),
        "langchain-google": langchain("langchain_google_genai", "ChatGoogleGenerativeAI", model=GEMINI),
        "langchain-mistral": langchain("langchain_mistralai", "ChatMistralAI", model=OPEN),
        "langchain-openrouter": langchain("langchain_openrouter", "ChatOpenRouter", model=OPEN),
        "langchain-together": langchain("langchain_together", "ChatTogether", model=OPEN),
        "langchain-xai": langchain("langchain_xai", "ChatXAI", model=OPEN),
    },
    "before": {
        "langchain-groq": langchain("langchain_groq", "ChatGroq", model=OPEN),
        **{
            f"litellm-{model}": litellm(model)
            for model in [
                f"anthropic/{CLAUDE}",
                "azure/gpt-4o",
                f"gemini/{GEMINI}",
                f"groq/{OPEN}",
                f"mistral/{OPEN}",
                f"openai/{GPT}",
                f"openrouter/{OPEN}",
                f"together_ai/{OPEN}",
                f"xai/{OPEN}",
            ]
        },
    },
}


def told(call, asked):
    try:
        return call(asked)
    except Exception as error:  # whatever it is, it is no answer
        return f"{type(error).__name__}: {error}"


def main(which, text):
    asked = [{"role": "user", "content": text}]
    clients = CLIENTS[which]
    for module in MODULES[which]:
        importlib.import_module(module)
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as threads:
        answers = threads.map(lambda call: told(call, asked), clients.values())
    print(json.dumps(dict(zip(clients, answers, strict=True))))


main(*sys.argv[1:])
