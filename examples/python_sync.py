"""One chat completion with the openai package (pip install openai). The argument is the prompt."""

import os
import sys

from openai import OpenAI

prompt = sys.argv[1] if len(sys.argv) > 1 else "What is the capital of France?"

# The key is taken from OPENAI_API_KEY.
client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:3030/v1"))
answer = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": prompt}],
)
print(answer.choices[0].message.content)
