"""Chat completions side by side, which llm-proxy sends as one batch (pip install openai). The arguments are the prompts."""

import asyncio
import os
import sys

from openai import AsyncOpenAI

PROMPTS = sys.argv[1:] or [f"What is the capital of {country}?" for country in ("France", "Japan", "Peru")]


async def ask(client, prompt):
    answer = await client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": prompt}],
    )
    return answer.choices[0].message.content


async def main():
    # The key is taken from OPENAI_API_KEY.
    async with AsyncOpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:3030/v1")) as client:
        for answer in await asyncio.gather(*(ask(client, prompt) for prompt in PROMPTS)):
            print(answer)


asyncio.run(main())
