"""The official OpenAI SDK for Python through keymux. See run.sh."""

import asyncio
import base64
import io
import json
import os
import pathlib
import sys
import time
import unittest
import urllib.parse
import urllib.request
import uuid

import openai

KEYMUX = os.environ["KEYMUX_URL"]
RECORDED = os.environ["RECORDED_URL"]
CLIENT_KEY = os.environ["SDK_CLIENT_KEY"]
RECORDED_KEY = os.environ["RECORDED_KEY"]
SHARED = os.environ.get("KEYMUX_SHARED")

# Retries are keymux's business here: one that the SDK adds would hide a failure.
keymux = openai.OpenAI(base_url=f"{KEYMUX}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)
direct = openai.OpenAI(base_url=f"{RECORDED}/v1", api_key=RECORDED_KEY, max_retries=0, timeout=30)

SENTENCE = "one two three"
MESSAGES = [{"role": "user", "content": SENTENCE}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Echo(unittest.TestCase):
    """keymux alone, on the provider that needs no network."""

    def test_chat(self):
        answer = keymux.chat.completions.create(model="echo/echo", messages=MESSAGES)
        self.assertEqual(answer.choices[0].message.content, SENTENCE)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.completion_tokens, 3)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 3)

    def test_chat_by_a_route(self):
        answer = keymux.chat.completions.create(model="fast", messages=MESSAGES)
        self.assertEqual(answer.choices[0].message.content, SENTENCE)

    def test_chat_streamed(self):
        stream = keymux.chat.completions.create(
            model="echo/echo", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
        self.assertEqual(len(words), 3)
        self.assertEqual("".join(words).split(), SENTENCE.split())
        self.assertEqual(chunks[-1].usage.completion_tokens, 3)

    def test_chat_streamed_by_the_helper(self):
        with keymux.chat.completions.stream(model="echo/echo", messages=MESSAGES) as stream:
            answer = stream.get_final_completion()
        self.assertEqual(answer.choices[0].message.content.split(), SENTENCE.split())

    def test_tools(self):
        for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
            answer = keymux.chat.completions.create(
                model="echo/echo", messages=MESSAGES, tools=TOOLS, tool_choice=choice
            )
            (call,) = answer.choices[0].message.tool_calls
            self.assertEqual(call.function.name, "get_weather")
            self.assertIsInstance(json.loads(call.function.arguments), dict)
            self.assertEqual(answer.choices[0].finish_reason, "tool_calls")

    def test_tools_streamed(self):
        stream = keymux.chat.completions.create(
            model="echo/echo", messages=MESSAGES, tools=TOOLS, tool_choice="required", stream=True
        )
        name, arguments, reasons = "", "", []
        for chunk in stream:
            for choice in chunk.choices:
                reasons.append(choice.finish_reason)
                for call in choice.delta.tool_calls or []:
                    name += call.function.name or ""
                    arguments += call.function.arguments or ""
        self.assertEqual(name, "get_weather")
        self.assertIsInstance(json.loads(arguments), dict)
        self.assertEqual(reasons[-1], "tool_calls")

    def test_embeddings(self):
        # The SDK asks for base64 by itself and decodes it.
        packed = keymux.embeddings.create(model="echo/echo", input=[SENTENCE, "four"])
        plain = keymux.embeddings.create(model="echo/echo", input=[SENTENCE, "four"], encoding_format="float")
        self.assertEqual([item.index for item in packed.data], [0, 1])
        for a, b in zip(packed.data, plain.data, strict=True):
            self.assertGreater(len(a.embedding), 0)
            self.assertEqual(len(a.embedding), len(b.embedding))
            for x, y in zip(a.embedding, b.embedding):
                self.assertAlmostEqual(x, y, places=5)
        self.assertNotEqual(plain.data[0].embedding, plain.data[1].embedding)

    def test_responses(self):
        answer = keymux.responses.create(model="echo/echo", input=SENTENCE)
        self.assertEqual(answer.output_text, SENTENCE)
        self.assertEqual(answer.status, "completed")
        self.assertEqual(answer.usage.output_tokens, 3)

    def test_responses_streamed(self):
        events = list(keymux.responses.create(model="echo/echo", input=SENTENCE, stream=True))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(text.split(), SENTENCE.split())
        self.assertEqual(events[0].type, "response.created")
        self.assertEqual(events[-1].type, "response.completed")
        self.assertEqual(events[-1].response.output_text.split(), SENTENCE.split())

    def test_models(self):
        ids = [model.id for model in keymux.models.list()]
        self.assertIn("fast", ids)
        self.assertIn("echo/echo", ids)
        for name in ids:
            self.assertEqual(keymux.models.retrieve(name).id, name)
        with self.assertRaises(openai.NotFoundError):
            keymux.models.retrieve("no-such-model")

    def test_fifty_at_once(self):
        async def ask(client, number):
            stream = await client.chat.completions.create(
                model="echo/echo", messages=[{"role": "user", "content": f"word {number}"}], stream=True
            )
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            return "".join(parts).split()

        async def ask_all():
            async with openai.AsyncOpenAI(base_url=f"{KEYMUX}/v1", api_key=CLIENT_KEY, max_retries=0) as client:
                return await asyncio.gather(*(ask(client, number) for number in range(50)))

        self.assertEqual(asyncio.run(ask_all()), [["word", str(number)] for number in range(50)])


class Errors(unittest.TestCase):
    def test_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            keymux.chat.completions.create(model="no-such-model", messages=MESSAGES)
        self.assertIn("no-such-model", caught.exception.message)
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertTrue(caught.exception.response.headers["x-request-id"])

    def test_bad_client_key(self):
        stranger = keymux.with_options(api_key="sk-not-the-key")
        with self.assertRaises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model="echo/echo", messages=MESSAGES)
        self.assertNotIn("sk-not-the-key", str(caught.exception))

    def test_error_of_the_provider(self):
        with self.assertRaises(openai.RateLimitError):
            keymux.chat.completions.create(model="echo/error-429", messages=MESSAGES)
        with self.assertRaises(openai.BadRequestError):
            keymux.chat.completions.create(model="echo/error-400", messages=MESSAGES)

    def test_error_instead_of_a_stream(self):
        with self.assertRaises(openai.BadRequestError):
            keymux.chat.completions.create(model="echo/error-400", messages=MESSAGES, stream=True)

    def test_no_model(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            keymux.post("/chat/completions", body={"messages": MESSAGES}, cast_to=object)
        self.assertIn("model", caught.exception.message)


class Upstream(unittest.TestCase):
    """keymux in front of recorded.py, with answers that recorded.py makes."""

    def test_the_provider_gets_its_own_key(self):
        model = f"long-stream-{uuid.uuid4()}"
        list(keymux.chat.completions.create(model=f"recorded/{model}", messages=MESSAGES, stream=True))
        (request,) = seen(model)
        self.assertEqual(request["headers"]["authorization"], f"Bearer {RECORDED_KEY}")
        self.assertNotIn(CLIENT_KEY, json.dumps(request["headers"]))

    def test_long_stream(self):
        answers = [
            [chunk.to_dict() for chunk in client.chat.completions.create(model=model, messages=MESSAGES, stream=True)]
            for client, model in ((direct, "long-stream"), (keymux, "recorded/long-stream"))
        ]
        self.assertEqual(len(answers[1]), 2001)
        self.assertEqual(answers[0], answers[1])

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"
        stream = keymux.chat.completions.create(model=f"recorded/{model}", messages=MESSAGES, stream=True)
        for _ in range(3):
            next(stream)
        self.assertFalse(seen(model)[0]["left"])
        stream.close()
        self.assert_left(model)

    def test_giving_up_on_an_answer_frees_the_upstream(self):
        model = f"slow-whole-{uuid.uuid4()}"
        with self.assertRaises(openai.APITimeoutError):
            keymux.with_options(timeout=0.5).chat.completions.create(model=f"recorded/{model}", messages=MESSAGES)
        self.assert_left(model)

    def assert_left(self, model):
        deadline = time.monotonic() + 0.5
        while not seen(model)[0]["left"]:
            self.assertLess(time.monotonic(), deadline, "the upstream was not freed within 0.5 s")
            time.sleep(0.01)

    def test_upload(self):
        sound = os.urandom(300_000)
        model = f"transcribe-{uuid.uuid4()}"
        answer = keymux.audio.transcriptions.create(
            model=f"recorded/{model}", file=("speech.wav", io.BytesIO(sound)), language="en", temperature=0.5
        )
        self.assertEqual(answer.text, "300000 bytes")
        (request,) = seen(model)
        self.assertIn(sound, base64.b64decode(request["body"]))

    def test_speech(self):
        answers = [
            client.audio.speech.create(model=model, voice="alloy", input=SENTENCE).read()
            for client, model in ((direct, "speech"), (keymux, "recorded/speech"))
        ]
        self.assertEqual(len(answers[1]), 102_400)
        self.assertEqual(answers[0], answers[1])


@unittest.skipUnless(SHARED, "KEYMUX_SHARED is not set")
class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def recordings():
    index = json.loads((pathlib.Path(SHARED) / "fixtures/index.json").read_text())
    for place, entry in enumerate(index):
        entry["place"] = place
    apis = ("openai.chat", "openai.completions", "openai.embeddings", "openai.responses")
    return sorted((entry for entry in index if entry["api"] in apis), key=lambda entry: entry["id"])


def recorded_test(entry, provider):
    def test(self):
        recording = json.loads((pathlib.Path(SHARED) / f"fixtures/{entry['id']}.json").read_text())
        without = outcome(direct, entry, recording, entry["id"])
        through = outcome(keymux, entry, recording, f"{provider}/{entry['id']}")
        self.maxDiff = 2000
        if "error_in_stream" in entry["features"] and "status" in through[0]:
            # What fails before its first word has its real status: the key behind can be another one then.
            self.assertEqual(len(through), 1)
            self.assertIn(through[0]["body"]["message"], json.dumps(without))
        else:
            self.assertEqual(without, through)
        bodies = [request["body"] for request in seen(entry["id"])]
        # After a provider's failure its only key is asked once more.
        self.assertEqual(len(bodies), 3 if entry["status"] >= 500 else 2)
        self.assertEqual(len({base64.b64decode(body) for body in bodies}), 1)

    return test


def outcome(client, entry, recording, model):
    """Everything that a program sees of an exchange: objects, and the error that ends it."""
    body = dict(recording["request"]["body"] or {})
    body.pop("model", None)
    body.pop("stream", None)
    method, needed = {
        "openai.chat": (client.chat.completions.create, {"messages": MESSAGES}),
        "openai.completions": (client.completions.create, {"prompt": SENTENCE}),
        "openai.embeddings": (client.embeddings.create, {"input": SENTENCE}),
        "openai.responses": (client.responses.create, {}),
    }[entry["api"]]
    needed = {name: body.pop(name, default) for name, default in needed.items()}
    if entry["stream"]:
        needed["stream"] = True
    found = []
    try:
        answer = method(model=model, extra_body=body, **needed)
        found.extend(item.to_dict(warnings=False) for item in (answer if entry["stream"] else [answer]))
    except openai.APIStatusError as error:
        found.append({"error": type(error).__name__, "status": error.status_code, "body": error.body})
    except openai.APIError as error:
        found.append({"error": type(error).__name__, "message": error.message, "body": error.body})
    except TypeError:
        raise  # A mistake in this file.
    except Exception as error:  # Whatever the SDK's HTTP client throws when an answer breaks off.
        found.append({"error": type(error).__name__})
    return found


def is_refusal(entry):
    return entry["status"] >= 400 or "error_in_stream" in entry["features"]


def add_recorded_tests():
    for entry in recordings():
        # A refusal can take a key out of service for a while, so each has a provider of its own.
        provider = f"refused-{entry['place']}" if is_refusal(entry) else "recorded"
        setattr(Recorded, f"test {entry['id']}", recorded_test(entry, provider))


def seen(model):
    with urllib.request.urlopen(f"{RECORDED}/seen?model={urllib.parse.quote(model)}") as answer:
        return json.load(answer)


if __name__ == "__main__":
    if SHARED:
        add_recorded_tests()
    else:
        Recorded.test_recordings = lambda self: None
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped {test}: {reason}")
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)
