"""The same request again: a script that was killed and is run again, and `Idempotency-Key`."""

import asyncio
import os
import signal
import subprocess
import sys

import openai
import pytest
from deployment import KEY, marker, poll

# Generous on purpose, as in `deployment`.
STARTED_SECONDS = 120
MODEL = "gpt-4o-mini"

# An ordinary script: three answers at once, one of them streamed.
SCRIPT = """
import asyncio, sys
import openai

async def main(model, *texts):
    client = openai.AsyncOpenAI()
    async def say(text, stream):
        asked = {"model": model, "messages": [{"role": "user", "content": text}]}
        if not stream:
            return (await client.chat.completions.create(**asked)).choices[0].message.content
        chunks = await client.chat.completions.create(**asked, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])
    for answer in await asyncio.gather(*(say(text, text is texts[-1]) for text in texts)):
        print(answer)

asyncio.run(main(*sys.argv[1:]))
"""


class Script:
    """The script, whose model tells its jobs at the provider from those of others."""

    def __init__(self, deployment, model):
        self.deployment = deployment
        self.texts = [marker() for _ in range(3)]
        asked = [f"echo:{text} slow:5000" for text in self.texts]
        self.command = [sys.executable, "-c", SCRIPT, model, *asked]
        self.env = os.environ | {"OPENAI_BASE_URL": deployment.base_url, "OPENAI_API_KEY": KEY}
        self.model = model

    def start(self):
        self.child = subprocess.Popen(self.command, env=self.env, stdout=subprocess.PIPE, text=True)

    def jobs(self):
        return [batch for batch in self.deployment.state()["batches"] if batch["model"] == self.model]

    def is_running(self):
        """Whether all of its requests are in jobs that run."""
        running = [job for job in self.jobs() if job["status"] == "in_progress"]
        return sum(job["counts"]["total"] for job in running) == len(self.texts)

    def is_over(self):
        return all(job["status"] == "completed" for job in self.jobs())

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        assert self.child.wait() == -signal.SIGKILL
        assert self.child.stdout.read() == ""

    def assert_answered(self):
        printed, _ = self.child.communicate(timeout=STARTED_SECONDS)
        assert printed.splitlines() == self.texts
        lines = self.deployment.lines()
        assert [[line["billed"] for line in lines[text]] for text in self.texts] == [[True]] * 3


def test_a_killed_script_that_is_run_again_collects_its_answers(deployment):
    at_once, later = scripts = [Script(deployment, model) for model in ["gpt-4o", "gpt-4.1"]]
    for script in scripts:
        script.start()
    for script in scripts:
        poll("jobs in progress", STARTED_SECONDS, script.is_running)
        script.kill()
    at_once.start()
    poll("job over", STARTED_SECONDS, later.is_over)
    settled = deployment.settled_state()
    assert settled["files_left"] == 0
    later.start()
    for script in scripts:
        script.assert_answered()
    # Nothing was sent to the provider again.
    assert deployment.state()["batch_count"] == settled["batch_count"]


def say(client, text, **more):
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


def with_key(key):
    return {"extra_headers": {"Idempotency-Key": key}}


def test_one_idempotency_key_is_one_request(deployment):
    text = marker()

    async def twice_at_once_and_again():
        async with openai.AsyncOpenAI(base_url=deployment.base_url, api_key=KEY) as client:
            calls = [say(client, f"echo:{text}", **with_key(text)) for _ in range(2)]
            return [*await asyncio.gather(*calls), await say(client, f"echo:{text}", **with_key(text))]

    answers = asyncio.run(twice_at_once_and_again())
    assert [answer.choices[0].message.content for answer in answers] == [text] * 3
    assert len({answer.id for answer in answers}) == 1
    assert [line["billed"] for line in deployment.lines()[text]] == [True]


def test_an_idempotency_key_belongs_to_one_body(deployment, client):
    text, other = marker(), marker()
    say(client, f"echo:{text}", **with_key(text))
    with pytest.raises(openai.BadRequestError) as caught:
        say(client, f"echo:{other}", **with_key(text))
    assert caught.value.code == "idempotency_key_reused"
    assert other not in deployment.lines()


def test_identical_requests_at_once_stay_as_many(deployment):
    text = marker()

    async def thrice():
        async with openai.AsyncOpenAI(base_url=deployment.base_url, api_key=KEY) as client:
            # Refused, since answers would look as if billed twice.
            calls = [say(client, f"echo:{text} fail:400") for _ in range(3)]
            return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(refused) for refused in asyncio.run(thrice())] == [openai.BadRequestError] * 3
    assert len(deployment.lines()[text]) == 3
