"""The official SDK of Google through keymux, as a caller of the Gemini API. See run.sh."""

import asyncio
import json
import unittest
import urllib.error
import urllib.request
import uuid

from google import genai
from google.genai import errors

from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, SENTENCE, add_recorded_tests, check_cancel, compare
from through import main, needs_recordings, recordings, seen


def client(url, key):
    return genai.Client(api_key=key, vertexai=False, http_options={"base_url": url, "timeout": 30_000})


keymux = client(KEYMUX, CLIENT_KEY)
direct = client(RECORDED, RECORDED_KEY)

UNARY, STREAM, EMBEDDINGS = 156, 167, 147


@needs_recordings
class Models(unittest.TestCase):
    def compare(self, label, ask, caller=keymux):
        return compare(self, label, direct, caller, ask, "gemini")

    def test_generate_content_in_each_version(self):
        def ask(client, model):
            for version in ("v1", "v1beta", "v1alpha"):
                config = {"http_options": {"api_version": version}, "system_instruction": "be brief"}
                answer = client.models.generate_content(model=model, contents=SENTENCE, config=config)
                yield seen_by_program(answer)

        self.assertEqual(len(self.compare(f"recording-{UNARY}", ask)), 3)

    def test_count_tokens(self):
        def ask(client, model):
            yield seen_by_program(client.models.count_tokens(model=model, contents=SENTENCE))

        self.compare(f"recording-{UNARY}", ask)

    def test_embed_content(self):
        """The path names the model, and each request in the body names it again."""

        def ask(client, model):
            contents = ["one", "two"]
            config = {"task_type": "RETRIEVAL_QUERY"}
            yield seen_by_program(client.models.embed_content(model=model, contents=contents, config=config))

        self.compare(f"recording-{EMBEDDINGS}", ask)

    def test_async_stream(self):
        async def collect(client, model):
            stream = await client.aio.models.generate_content_stream(model=model, contents=SENTENCE)
            return [seen_by_program(chunk) async for chunk in stream]

        self.compare(f"recording-{STREAM}", lambda *asked: asyncio.run(collect(*asked)))

    def test_chat(self):
        def ask(client, model):
            chat = client.chats.create(model=model)
            yield seen_by_program(chat.send_message(SENTENCE))
            yield seen_by_program(chat.send_message("four"))

        self.compare(f"recording-{UNARY}", ask)

    def test_long_stream(self):
        def ask(client, model):
            yield from map(seen_by_program, client.models.generate_content_stream(model=model, contents=SENTENCE))

        self.assertEqual(len(self.compare("long-stream", ask)), 2001)

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"

        async def start():
            caller = client(KEYMUX, CLIENT_KEY).aio
            stream = await caller.models.generate_content_stream(model=f"gemini/{model}", contents=SENTENCE)
            for _ in range(3):
                await anext(stream)
            self.assertFalse(seen(model)[0]["left"])
            await stream.aclose()
            await caller.aclose()

        check_cancel(self, model, lambda: asyncio.run(start()))

    def test_key_in_the_query(self):
        """As curl has it in Google's own examples."""
        model = f"recording-{UNARY}-{uuid.uuid4()}"
        for key in (CLIENT_KEY, "not-the-key"):
            url = f"{KEYMUX}/v1beta/models/gemini/{model}:generateContent?key={key}&prettyPrint=false"
            body = json.dumps({"contents": [{"parts": [{"text": SENTENCE}]}]}).encode()
            request = urllib.request.Request(url, body, {"content-type": "application/json"})
            if key == CLIENT_KEY:
                with urllib.request.urlopen(request) as answer:
                    self.assertIn("candidates", json.load(answer))
            else:
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    urllib.request.urlopen(request)
                self.assertIn(caught.exception.code, (400, 401))
                self.assertNotIn(key, caught.exception.read().decode())
        (request,) = seen(model)
        self.assertIsNone(request["fault"])
        self.assertTrue(request["path"].endswith(":generateContent?prettyPrint=false"), request["path"])

    def test_array_stream(self):
        """Without `alt=sse` a stream is a JSON array."""
        model = f"slow-whole-{uuid.uuid4()}"
        url = f"{KEYMUX}/v1beta/models/gemini/{model}:streamGenerateContent"
        request = urllib.request.Request(url, b'{"contents":[]}', {"x-goog-api-key": CLIENT_KEY})
        with self.assertRaises(TimeoutError):
            urllib.request.urlopen(request, timeout=0.5)
        self.assertTrue(seen(model)[0]["path"].endswith(":streamGenerateContent"))


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        with self.assertRaises(errors.ClientError) as caught:
            keymux.models.generate_content(model="no-such-model", contents=SENTENCE)
        self.assertEqual((caught.exception.code, caught.exception.status), (404, "NOT_FOUND"))
        self.assertIn("no-such-model", caught.exception.message)
        stranger = client(KEYMUX, "not-the-key")
        with self.assertRaises(errors.ClientError) as caught:
            stranger.models.generate_content(model="gemini/x", contents=SENTENCE)
        self.assertIn(caught.exception.status, ("UNAUTHENTICATED", "INVALID_ARGUMENT"))
        self.assertNotIn("not-the-key", str(caught.exception))

    def test_models(self):
        names = [model.name for model in keymux.models.list()]
        self.assertIn("models/fast", names)
        self.assertEqual(keymux.models.get(model="fast").name, "models/fast")


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def seen_by_program(answer):
    # The SDK keeps the HTTP head beside the answer; request ids differ there.
    return answer.model_dump(mode="json", exclude={"sdk_http_response"})


def ask_recorded(client, model, entry, body):
    config = {"http_options": {"extra_body": body}}
    asked = {"model": model, "contents": SENTENCE, "config": config}
    match entry["api"]:
        case "gemini.countTokens":
            yield seen_by_program(client.models.count_tokens(**asked))
        case "gemini.batchEmbedContents":
            del config["http_options"]
            yield seen_by_program(client.models.embed_content(**asked))
        case "gemini.streamGenerateContent":
            yield from map(seen_by_program, client.models.generate_content_stream(**asked))
        case _:
            yield seen_by_program(client.models.generate_content(**asked))


if __name__ == "__main__":
    entries = [entry for entry in recordings("google") if entry["api"].startswith("gemini.")]
    add_recorded_tests(Recorded, entries, direct, keymux, ask_recorded, "gemini")
    main()
