"""Claude Code and Codex, the command-line clients, through keymux: one question each. See run.sh."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import uuid

from through import CLIENT_KEY, KEYMUX, main, seen

BIN = pathlib.Path(os.environ["CLI_HOME"]) / "node_modules/.bin"

# What recorded.py says in each `short-stream`.
WORD = "pineapple"

CODEX = """
model = "{model}"
model_provider = "keymux"
[model_providers.keymux]
name = "keymux"
base_url = "{url}/v1"
env_key = "KEYMUX_KEY"
wire_api = "responses"
"""


def run(home, command, *arguments, **environment):
    """Runs a client with nothing of this user's own around it."""
    environment |= {"PATH": os.environ["PATH"], "HOME": home}
    work = pathlib.Path(home) / "work"
    work.mkdir()
    return subprocess.run(
        [BIN / command, *arguments],
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


class ClaudeCode(unittest.TestCase):
    def ask(self, provider, **environment):
        model = f"short-stream-{uuid.uuid4()}"
        quiet = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        quiet["ANTHROPIC_MODEL"] = f"{provider}/{model}"
        with tempfile.TemporaryDirectory() as home:
            ended = run(home, "claude", "-p", "hi", **quiet, **environment)
        self.assertEqual((ended.returncode, ended.stdout.strip()), (0, WORD), ended.stderr)
        requests = seen(model)
        self.assertTrue(requests)
        for request in requests:
            self.assertIsNone(request["fault"])
        return requests[-1]

    def test_token(self):
        request = self.ask("anthropic", ANTHROPIC_BASE_URL=KEYMUX, ANTHROPIC_AUTH_TOKEN=CLIENT_KEY)
        self.assertEqual(request["path"], "/v1/messages?beta=true")
        self.assertTrue(request["headers"]["anthropic-beta"])
        self.assertTrue(request["headers"]["anthropic-version"])

    def test_key(self):
        self.ask("anthropic", ANTHROPIC_BASE_URL=KEYMUX, ANTHROPIC_API_KEY=CLIENT_KEY)

    def test_vertex(self):
        request = self.ask(
            "vertex",
            CLAUDE_CODE_USE_VERTEX="1",
            CLAUDE_CODE_SKIP_VERTEX_AUTH="1",
            ANTHROPIC_VERTEX_BASE_URL=f"{KEYMUX}/v1",
            ANTHROPIC_VERTEX_PROJECT_ID="recorded-project",
            CLOUD_ML_REGION="us-central1",
            ANTHROPIC_CUSTOM_HEADERS=f"Authorization: Bearer {CLIENT_KEY}",
        )
        self.assertIn("/publishers/anthropic/models/short-stream", request["path"])
        self.assertRegex(request["path"], ":streamRawPredict")

    def test_a_wrong_key_is_said(self):
        with tempfile.TemporaryDirectory() as home:
            key = {"ANTHROPIC_BASE_URL": KEYMUX, "ANTHROPIC_AUTH_TOKEN": "not-the-key"}
            ended = run(home, "claude", "-p", "hi", DISABLE_AUTOUPDATER="1", **key)
        self.assertNotEqual(ended.returncode, 0)
        self.assertRegex(ended.stdout + ended.stderr, re.compile("401|key|authenticat", re.IGNORECASE))


class Codex(unittest.TestCase):
    def test_responses(self):
        model = f"short-stream-{uuid.uuid4()}"
        with tempfile.TemporaryDirectory() as home:
            config = pathlib.Path(home) / ".codex/config.toml"
            config.parent.mkdir()
            config.write_text(CODEX.format(model=f"recorded/{model}", url=KEYMUX))
            ended = run(home, "codex", "exec", "--skip-git-repo-check", "hi", KEYMUX_KEY=CLIENT_KEY)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn(WORD, ended.stdout)
        for request in seen(model):
            self.assertEqual((request["fault"], request["path"]), (None, "/v1/responses"))


if __name__ == "__main__":
    main()
