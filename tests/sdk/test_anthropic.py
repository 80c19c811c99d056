"""The official SDK of Anthropic through keymux. See run.sh."""

import asyncio
import unittest
import uuid

import anthropic

from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, SENTENCE, add_recorded_tests, check_cancel, compare
from through import main, needs_recordings, recordings, seen

keymux = anthropic.Anthropic(base_url=KEYMUX, api_key=CLIENT_KEY, max_retries=0, timeout=30)
direct = anthropic.Anthropic(base_url=RECORDED, api_key=RECORDED_KEY, max_retries=0, timeout=30)

MESSAGES = [{"role": "user", "content": SENTENCE}]
UNARY, STREAM, TOOLS, THINKING = 31, 13, 27, 28


@needs_recordings
class Messages(unittest.TestCase):
    def compare(self, label, ask, client=keymux):
        return compare(self, label, direct, client, ask, "anthropic")

    def test_beta(self):
        def ask(client, model):
            betas = ["context-1m-2025-08-07", "token-efficient-tools-2025-02-19"]
            asked = {"model": model, "max_tokens": 9, "messages": MESSAGES, "betas": betas}
            # Older versions of the SDK ask so by themselves, Claude Code does to this day.
            yield client.beta.messages.create(**asked, extra_query={"beta": "true"}).to_dict()

        self.compare(f"recording-{UNARY}", ask)
        (_, request) = seen(f"recording-{UNARY}-messages-test-beta")
        self.assertEqual(request["path"], "/v1/messages?beta=true")
        self.assertEqual(request["headers"]["anthropic-beta"].count("2025"), 2)

    def test_beta_count_tokens(self):
        def ask(client, model):
            yield client.beta.messages.count_tokens(model=model, messages=MESSAGES, betas=["x-2025-01-01"]).to_dict()

        self.compare("recording-0", ask)

    def test_stream_by_the_helper(self):
        def ask(client, model):
            with client.messages.stream(model=model, max_tokens=9, messages=MESSAGES) as stream:
                yield from stream.text_stream
                yield stream.get_final_message().to_dict()

        self.compare(f"recording-{STREAM}", ask)

    def test_each_form_of_the_key(self):
        """`x-api-key` as curl and older SDKs have it, a token as ANTHROPIC_AUTH_TOKEN has it."""

        def ask(client, model):
            yield client.messages.create(model=model, max_tokens=9, messages=MESSAGES).to_dict()

        headers = {"x-api-key": CLIENT_KEY, "authorization": anthropic.Omit()}
        for caller in (
            anthropic.Anthropic(base_url=KEYMUX, api_key=CLIENT_KEY, max_retries=0, default_headers=headers),
            anthropic.Anthropic(base_url=KEYMUX, auth_token=CLIENT_KEY, max_retries=0),
        ):
            self.compare(f"recording-{TOOLS}-{uuid.uuid4()}", ask, caller)

    def test_async(self):
        async def collect(client, model):
            client = anthropic.AsyncAnthropic(base_url=client.base_url, api_key=client.api_key, max_retries=0)
            async with client:
                stream = await client.messages.create(model=model, max_tokens=9, messages=MESSAGES, stream=True)
                return [event.to_dict() async for event in stream]

        self.compare(f"recording-{STREAM}", lambda *asked: asyncio.run(collect(*asked)))

    def test_raw_response(self):
        answer = keymux.messages.with_raw_response.create(
            model=f"anthropic/recording-{THINKING}-raw", max_tokens=9, messages=MESSAGES
        )
        self.assertEqual(answer.headers["x-keymux-provider"], "anthropic")
        self.assertTrue(answer.headers["x-request-id"])

    def test_long_stream(self):
        def ask(client, model):
            stream = client.messages.create(model=model, max_tokens=9, messages=MESSAGES, stream=True)
            yield from (event.to_dict() for event in stream)

        self.assertEqual(len(self.compare("long-stream", ask)), 2005)

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"

        def start():
            asked = {"model": f"anthropic/{model}", "max_tokens": 9, "messages": MESSAGES}
            with keymux.messages.create(**asked, stream=True) as stream:
                for _ in range(4):
                    next(stream)
                self.assertFalse(seen(model)[0]["left"])

        check_cancel(self, model, start)


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        asked = {"max_tokens": 9, "messages": MESSAGES}
        with self.assertRaises(anthropic.NotFoundError) as caught:
            keymux.messages.create(model="no-such-model", **asked)
        self.assertEqual(caught.exception.body["type"], "error")
        self.assertEqual(caught.exception.body["error"]["type"], "not_found_error")
        self.assertIn("no-such-model", caught.exception.message)
        stranger = keymux.with_options(api_key="sk-ant-not-the-key")
        with self.assertRaises(anthropic.AuthenticationError) as caught:
            stranger.messages.create(model="anthropic/x", **asked)
        self.assertEqual(caught.exception.body["error"]["type"], "authentication_error")
        self.assertNotIn("not-the-key", str(caught.exception))

    def test_models(self):
        ids = [model.id for model in keymux.models.list()]
        self.assertIn("fast", ids)
        self.assertEqual(keymux.models.retrieve("fast").id, "fast")
        self.assertEqual(keymux.models.retrieve("fast").type, "model")


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def ask_recorded(client, model, entry, body):
    body = dict(body)
    messages = body.pop("messages", MESSAGES)
    if entry["api"] == "anthropic.count_tokens":
        yield client.messages.count_tokens(model=model, messages=messages, extra_body=body).to_dict()
        return
    most = body.pop("max_tokens", 9)
    asked = {"model": model, "messages": messages, "max_tokens": most, "extra_body": body}
    if entry["stream"]:
        yield from (event.to_dict(warnings=False) for event in client.messages.create(**asked, stream=True))
    else:
        yield client.messages.create(**asked).to_dict(warnings=False)


if __name__ == "__main__":
    entries = recordings("anthropic", "anthropic.messages", "anthropic.count_tokens")
    add_recorded_tests(Recorded, entries, direct, keymux, ask_recorded, "anthropic")
    main()
