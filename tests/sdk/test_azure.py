"""`AzureOpenAI` of the real `openai` packages, which writes the older paths, with its endpoint and key changed and nothing else."""

import openai
import pytest
from deployment import KEY, marker


@pytest.mark.parametrize(
    ("settings", "model"),
    # The deployment is in the path, from the model or from the client; an Entra token is as good as a key.
    [({"api_key": KEY}, "gpt-4o"), ({"azure_ad_token": KEY, "azure_deployment": "gpt-4o"}, "")],
)
def test_azure_deployments_are_batched_by_those_for_batches(deployment, settings, model):
    endpoint = f"{deployment.origin}/azure"
    with openai.AzureOpenAI(azure_endpoint=endpoint, api_version="2024-10-21", **settings) as client:
        # A deployment for batches answers no direct calls: the second one goes to the caller's own.
        for mode, route, deployed in [("auto", "batch", "gpt-4o-batch"), ("sync", "sync", "gpt-4o")]:
            text = marker()
            raw = client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "user", "content": f"echo:{text}"}],
                extra_headers={"x-llm-proxy-mode": mode},
            )
            assert raw.headers["x-llm-proxy-route"] == route
            answer = raw.parse()
            assert (answer.choices[0].message.content, answer.model) == (text, deployed)


def test_azure_responses(deployment):
    text = marker()
    settings = {"azure_endpoint": f"{deployment.origin}/azure", "api_version": "2025-04-01-preview"}
    with openai.AzureOpenAI(api_key=KEY, **settings) as client:
        answer = client.responses.create(model="gpt-4o", input=f"echo:{text}")
    assert (answer.output_text, answer.model) == (text, "gpt-4o-batch")
