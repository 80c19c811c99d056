"""Scenarios of failure with the official SDKs as callers: what a program notices when a provider fails, and when it
must not. With a keymux and providers of its own. See run.sh."""

import collections
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai

import streams
from through import main

ASKED = [{"role": "user", "content": "Hello there"}]
WORDS = ["one ", "two ", "three"]

# A provider `main` of OpenAI's format with the keys `bad` and `good`, of which the first is asked first; `alone` with
# the first of them only; `claude` of Anthropic's.
CONFIG = """
[server]
listen = "127.0.0.1:{port}"
[admin]
listen = "127.0.0.1:{admin}"
[providers.main]
kind = "openai-compatible"
base_url = "{upstream}/v1"
timeouts = {{ first_byte = "2s", idle = "1s" }}
[[providers.main.keys]]
name = "bad"
value = "sk-bad"
[[providers.main.keys]]
name = "good"
value = "sk-good"
weight = 0
[providers.alone]
kind = "openai-compatible"
base_url = "{upstream}/v1"
timeouts = {{ first_byte = "2s", idle = "1s" }}
[[providers.alone.keys]]
name = "bad"
value = "sk-bad"
[providers.claude]
kind = "anthropic"
base_url = "{upstream}"
[[providers.claude.keys]]
name = "good"
value = "sk-good"
[routes.foreign]
targets = [{{ model = "alone/status-503" }}]
fallbacks = ["claude/fine"]
"""


class Provider(BaseHTTPRequestHandler):
    """Answers the key `good` well, and the key `bad` as the model says."""

    protocol_version = "HTTP/1.1"
    asked = collections.Counter()
    left = set()

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, stream = body["model"], body.get("stream", False)
        key = self.headers.get("x-api-key") or self.headers["authorization"].removeprefix("Bearer ")
        Provider.asked[model, key.removeprefix("sk-")] += 1
        fault = model.split("@")[0] if key == "sk-bad" else "fine"
        if fault.startswith("status-"):
            code = "insufficient_quota" if fault == "status-402" else "no"
            self.whole(int(fault[7:]), {"error": {"message": "no", "code": code}}, {"retry-after": "90"})
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
        elif not stream:
            self.answer(fault)
        else:
            self.stream(fault, model)

    def answer(self, fault):
        if fault == "error-in-200":
            return self.whole(200, {"error": {"message": "Overloaded", "type": "server_error"}})
        message = {"role": "assistant", "content": "one two three"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        if "messages" == self.path.rsplit("/", 1)[1]:
            content = [{"type": "text", "text": "one two three"}]
            usage = {"input_tokens": 3, "output_tokens": 2}
            whole = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content}
            whole |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
        self.whole(200, whole, truncated=fault == "truncated")

    def whole(self, status, value, headers=(), truncated=False):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (dict(headers) | {"content-type": "application/json", "content-length": len(body)}).items():
            self.send_header(name, str(text))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if truncated else body)
        self.close_connection = truncated

    def stream(self, fault, model):
        form = streams.form_of(self.path)
        self.send_response(200)
        self.send_header("content-type", form.content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if fault == "error-first":
            self.chunk(b'data: {"error":{"message":"Overloaded","type":"server_error"}}\n\n')
            return self.chunk(b"")
        if opening := form.opening():
            self.chunk(opening)
        for number, word in enumerate(WORDS):
            self.chunk(form.word(word))
            if fault in ("cut", "stall") and number == 1:
                if fault == "stall":
                    self.connection.settimeout(10)
                    if self.connection.recv(1) == b"":
                        Provider.left.add(model)
                self.close_connection = True
                return
        self.chunk(form.ending("".join(WORDS)))
        self.chunk(b"")

    def chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()


def free_ports():
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    return [listener.getsockname()[1] for listener in held]


def setUpModule():
    global running, upstream, chat, messages, patient
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    upstream.daemon_threads = True
    upstream.handle_error = lambda *_: None
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port, admin = free_ports()
    file = pathlib.Path(tempfile.mkdtemp()) / "keymux.toml"
    base = f"http://127.0.0.1:{upstream.server_port}"
    file.write_text(CONFIG.format(port=port, admin=admin, upstream=base))
    program = [os.environ["KEYMUX_PROGRAM"], "run", "--config", str(file)]
    running = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz").close()
            break
        except OSError:
            time.sleep(0.1)
    url = f"http://127.0.0.1:{port}"
    chat = openai.OpenAI(base_url=f"{url}/v1", api_key="anybody", max_retries=0, timeout=20)
    patient = openai.OpenAI(base_url=f"{url}/v1", api_key="anybody", timeout=20)
    messages = anthropic.Anthropic(base_url=url, api_key="anybody", max_retries=0, timeout=20)


def tearDownModule():
    running.terminate()
    running.wait(10)
    upstream.shutdown()


class Unnoticed(unittest.TestCase):
    """Another key is there: the program gets its answer as if nothing had been."""

    def asked(self, model):
        return Provider.asked[model, "bad"], Provider.asked[model, "good"]

    def whole(self, fault, asked=(1, 1)):
        model = f"{fault}@whole"
        answer = chat.chat.completions.create(model=f"main/{model}", messages=ASKED)
        self.assertEqual(answer.choices[0].message.content, "one two three")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertIn(self.asked(model), [(1, 1), asked])

    def test_throttled(self):
        self.whole("status-429")

    def test_server_error(self):
        self.whole("status-500")

    def test_overloaded(self):
        self.whole("status-529")

    def test_reset(self):
        # A connection that was kept and proves dead is no attempt: the same is asked on a new one.
        self.whole("reset", (2, 1))

    def test_truncated(self):
        self.whole("truncated")

    def test_error_in_200(self):
        self.whole("error-in-200")

    def test_stream_that_fails_at_once(self):
        stream = chat.chat.completions.create(model="main/error-first", messages=ASKED, stream=True)
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        self.assertEqual((text, chunks[-1].choices[0].finish_reason), ("one two three", "stop"))

    def test_message_in_place_of_a_chat(self):
        """The caller speaks Anthropic's format, and the provider does not."""
        answer = messages.messages.create(model="main/status-503@messages", max_tokens=9, messages=ASKED)
        self.assertEqual((answer.content[0].text, answer.stop_reason), ("one two three", "end_turn"))

    def test_fallback_of_another_format(self):
        answer = chat.chat.completions.create(model="foreign", messages=ASKED)
        self.assertEqual(answer.choices[0].message.content, "one two three")
        self.assertEqual(answer.usage.total_tokens, 5)
        stream = list(chat.chat.completions.create(model="foreign", messages=ASKED, stream=True))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        self.assertEqual((text, stream[-1].choices[0].finish_reason), ("one two three", "stop"))


class Noticed(unittest.TestCase):
    """What cannot be helped any more raises; nothing is taken for whole that is not."""

    def stream(self, model):
        """A chat's text, its last finish reason, and the error that ended it."""
        text, reason = "", None
        try:
            for chunk in chat.chat.completions.create(model=model, messages=ASKED, stream=True):
                text += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason or reason
        except openai.APIError as error:
            return text, reason, error
        return text, reason, None

    def test_cut(self):
        text, reason, error = self.stream("main/cut")
        self.assertEqual((text, reason), ("one two ", None))
        self.assertIn("broke off", error.message)

    def test_stall(self):
        start = time.monotonic()
        text, reason, error = self.stream("main/stall")
        self.assertEqual((text, reason), ("one two ", None))
        self.assertIn("stalled", error.message)
        self.assertLess(time.monotonic() - start, 5)
        time.sleep(0.2)
        self.assertIn("stall", Provider.left)

    def test_cut_response(self):
        kinds = []
        with self.assertRaises(openai.APIError) as raised:
            for event in chat.responses.create(model="main/cut@responses", input="Hello there", stream=True):
                kinds.append(event.type)
        self.assertIn("broke off", raised.exception.message)
        self.assertIn("response.output_text.delta", kinds)
        self.assertNotIn("response.completed", kinds)

    def test_cut_message_of_another_format(self):
        text = ""
        with self.assertRaises(anthropic.APIError):
            with messages.messages.stream(model="main/cut@messages", max_tokens=9, messages=ASKED) as stream:
                for piece in stream.text_stream:
                    text += piece
        self.assertEqual(text, "one two ")

    def test_error_for_an_only_key(self):
        with self.assertRaises(openai.InternalServerError) as raised:
            chat.chat.completions.create(model="alone/error-in-200", messages=ASKED)
        self.assertIn("Overloaded", raised.exception.message)

    def test_all_keys_cool_for_longer_than_a_retry_is_worth(self):
        """With the retries that the SDK has by itself: told that none is worth it, it raises at once."""
        with self.assertRaises(openai.RateLimitError):
            chat.chat.completions.create(model="alone/status-429@alone", messages=ASKED)
        start, before = time.monotonic(), Provider.asked["status-429@alone", "bad"]
        with self.assertRaises(openai.RateLimitError) as raised:
            patient.chat.completions.create(model="alone/status-429@alone", messages=ASKED)
        self.assertLess(time.monotonic() - start, 1)
        self.assertEqual(Provider.asked["status-429@alone", "bad"], before)
        headers = raised.exception.response.headers
        self.assertEqual((headers["x-should-retry"], headers["retry-after"]), ("false", "60"))
        self.assertIn("alone/bad is throttled", raised.exception.message)


if __name__ == "__main__":
    main()
