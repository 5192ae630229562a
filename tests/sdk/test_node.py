"""Runs the tests in `*.test.mjs` against each deployment."""

import os
import pathlib
import shutil
import subprocess

import pytest
from deployment import KEY

HERE = pathlib.Path(__file__).parent


pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="no node on PATH")


@pytest.mark.parametrize("package", ["openai", "openai-6"])
def test_openai_package_for_node(deployment, package):
    run("openai.test.mjs", "OPENAI_", BASE_URL=deployment.base_url, PACKAGE=package)


@pytest.mark.parametrize("script", ["anthropic.test.mjs", "ai-anthropic.test.mjs"])
def test_anthropic_packages_for_node(deployment, script):
    run(script, "ANTHROPIC_", ORIGIN=deployment.origin, PROVIDER_URL=deployment.provider_url)


def run(script, foreign, **settings):
    """Runs a script without what the shell may say about the provider: the packages would read it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {"API_KEY": KEY, **settings}
    command = ["node", "--test", "--test-reporter=spec", script]
    ran = subprocess.run(command, cwd=HERE, env=env, text=True, timeout=300, capture_output=True)
    print(ran.stdout, ran.stderr)
    assert ran.returncode == 0


@pytest.mark.skipif(not shutil.which("node"), reason="no node on PATH")
def test_gemini_packages_for_node(deployment):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
    env |= {"BASE_URL": deployment.origin, "API_KEY": f"AIza-{KEY}"}
    command = ["node", "--test", "--test-reporter=spec", "gemini.test.mjs"]
    ran = subprocess.run(command, cwd=HERE, env=env, text=True, timeout=300, capture_output=True)
    print(ran.stdout, ran.stderr)
    assert ran.returncode == 0
