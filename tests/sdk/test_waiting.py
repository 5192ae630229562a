"""Clients that are less patient than the batch takes: each gets its answer, or a late error as it is, and nothing is paid twice."""

import pytest
from matrix import Call, make_all

# Longer than every client's limit of 3 s, and for the last client not longer than its three attempts.
LATE = "slow:7000"
NODE_TOTAL = 4

STREAMS = [False, True]
APIS = ["chat", "responses"]

CLIENTS = [
    *(Call("python", client, api, stream) for client in ["openai", "openai-async"] for api in APIS for stream in STREAMS),
    *(Call("python", "openai", "completions", stream) for stream in STREAMS),
    *(Call("python", client, api, stream) for client in ["langchain", "langchain-async"] for api in APIS for stream in STREAMS),
    *(Call("python-openai2", "openai", "chat", stream) for stream in STREAMS),
    *(Call("python-openai2", client, "chat", stream) for client in ["litellm", "litellm-async"] for stream in STREAMS),
    *(Call("python-openai2", client, "chat", stream) for client in ["instructor", "instructor-async"] for stream in STREAMS),
    *(Call("node", "openai", api, stream, timeout=NODE_TOTAL) for api in APIS for stream in STREAMS),
    *(Call("node", client, api, stream) for client in ["openai-6", "ai"] for api in APIS for stream in STREAMS),
    *(Call("node", "fetch", "chat", stream) for stream in STREAMS),
    *(Call("curl", "curl", "chat", stream) for stream in STREAMS),
]
