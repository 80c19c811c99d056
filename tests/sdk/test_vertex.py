"""The official SDKs of Google and Anthropic through keymux, as callers of Vertex AI. See run.sh."""

import os
import unittest
import uuid

import anthropic
import google.auth.credentials
from google import genai
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from through import CLIENT_KEY, KEYMUX, RECORDED, SENTENCE, add_recorded_tests, check_cancel, compare
from through import check_revoked, main, needs_recordings, recordings, seen

PLACE = {"project": "recorded-project", "location": "us-central1"}
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
UNARY, STREAM, EMBEDDING, COUNT, CLAUDE, CLAUDE_STREAM = 316, 321, 325, 310, 328, 330


class Shown(google.auth.credentials.Credentials):
    """A token that is what it is: the caller's key, in the place of one of Google's."""

    def __init__(self, token):
        super().__init__()
        self.token = token

    def refresh(self, request):
        pass


def account():
    found = service_account.Credentials.from_service_account_file(os.environ["RECORDED_ACCOUNT"], scopes=SCOPES)
    found.refresh(Request())
    return Shown(found.token)


def google_client(url, credentials):
    options = {"base_url": url, "timeout": 30_000}
    return genai.Client(vertexai=True, credentials=credentials, http_options=options, **PLACE)


def claude_client(url, token):
    found = {"project_id": PLACE["project"], "region": PLACE["location"]}
    return anthropic.AnthropicVertex(base_url=f"{url}/v1", access_token=token, max_retries=0, timeout=30, **found)


ACCOUNT = account()
# A model with a `/` is another publisher's for the SDK: `vertex/m` goes out as publishers/vertex/models/m.
keymux = google_client(KEYMUX, Shown(CLIENT_KEY))
direct = google_client(RECORDED, ACCOUNT)
keymux_claude = claude_client(KEYMUX, CLIENT_KEY)
direct_claude = claude_client(RECORDED, ACCOUNT.token)

MESSAGES = [{"role": "user", "content": SENTENCE}]


@needs_recordings
class Gemini(unittest.TestCase):
    def test_key_in_the_header(self):
        """A key and no project: what Google calls the express mode. The key's own project is asked."""
        caller = genai.Client(vertexai=True, api_key=CLIENT_KEY, http_options={"base_url": KEYMUX})
        compare(self, f"recording-{UNARY}", direct, caller, ask_gemini, "vertex")

    def test_stream_with_a_key_in_the_header(self):
        caller = genai.Client(vertexai=True, api_key=CLIENT_KEY, http_options={"base_url": KEYMUX})
        compare(self, f"recording-{STREAM}", direct, caller, ask_gemini_stream, "vertex")

    def test_another_project_is_not_asked(self):
        """The request never chooses where it goes."""
        options = {"base_url": KEYMUX}
        place = {"project": "of-somebody-else", "location": "europe-west4"}
        caller = genai.Client(vertexai=True, credentials=Shown(CLIENT_KEY), http_options=options, **place)
        compare(self, f"recording-{UNARY}", direct, caller, ask_gemini, "vertex")

    def test_count_tokens(self):
        def ask(client, model):
            yield seen_by_program(client.models.count_tokens(model=model, contents=SENTENCE))

        compare(self, f"recording-{COUNT}", direct, keymux, ask, "vertex")

    def test_embed_content(self):
        def ask(client, model):
            yield seen_by_program(client.models.embed_content(model=model, contents=["one"]))

        compare(self, f"recording-{EMBEDDING}", direct, keymux, ask, "vertex")

    def test_long_stream(self):
        self.assertEqual(len(compare(self, "long-stream", direct, keymux, ask_gemini_stream, "vertex")), 2001)

    def test_one_token_for_all(self):
        models = [f"recording-{UNARY}-{uuid.uuid4()}" for _ in range(5)]
        for model in models:
            list(ask_gemini(keymux, f"vertex/{model}"))
        shown = {seen(model)[0]["headers"]["authorization"] for model in models}
        self.assertEqual(len(shown), 1, "a token was asked for more than once")


@needs_recordings
class Claude(unittest.TestCase):
    def compare(self, label, ask):
        return compare(self, label, direct_claude, keymux_claude, ask, "vertex")

    def test_count_tokens(self):
        def ask(client, model):
            yield client.messages.count_tokens(model=model, messages=MESSAGES).to_dict()

        self.compare("recording-0", ask)

    def test_beta(self):
        def ask(client, model):
            asked = {"model": model, "max_tokens": 9, "messages": MESSAGES}
            yield client.beta.messages.create(**asked, betas=["context-1m-2025-08-07"]).to_dict()

        self.compare(f"recording-{CLAUDE}", ask)

    def test_long_stream(self):
        self.assertEqual(len(self.compare("long-stream", ask_claude_stream)), 2005)

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"

        def start():
            with keymux_claude.messages.create(
                model=f"vertex/{model}", max_tokens=9, messages=MESSAGES, stream=True
            ) as stream:
                for _ in range(4):
                    next(stream)
                self.assertFalse(seen(model)[0]["left"])

        check_cancel(self, model, start)

    def test_callers_of_anthropic_s_own_api(self):
        """The model moves into the path and the version into the body."""
        caller = anthropic.Anthropic(base_url=KEYMUX, api_key=CLIENT_KEY, max_retries=0)
        for stream, verb, label in ((False, "rawPredict", CLAUDE), (True, "streamRawPredict", CLAUDE_STREAM)):
            model = f"recording-{label}-{uuid.uuid4()}"
            asked = {"model": f"vertex/{model}", "max_tokens": 9, "messages": MESSAGES}
            answer = caller.messages.create(**asked, stream=stream)
            self.assertTrue(list(answer) if stream else answer.content)
            (request,) = seen(model)
            place = "projects/recorded-project/locations/us-central1"
            self.assertEqual(request["path"], f"/v1/{place}/publishers/anthropic/models/{model}:{verb}")
            self.assertIsNone(request["fault"])


class Tokens(unittest.TestCase):
    def test_token_that_is_taken_back(self):
        def ask(model):
            list(ask_gemini_stream(keymux, f"vertex/{model}"))

        check_revoked(self, ask)


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def seen_by_program(answer):
    # The SDK keeps the HTTP head beside the answer; request ids differ there.
    return answer.model_dump(mode="json", exclude={"sdk_http_response"})


def ask_gemini(client, model, **config):
    yield seen_by_program(client.models.generate_content(model=model, contents=SENTENCE, config=config))


def ask_gemini_stream(client, model, **config):
    stream = client.models.generate_content_stream(model=model, contents=SENTENCE, config=config)
    yield from map(seen_by_program, stream)


def ask_claude_stream(client, model):
    asked = {"model": model, "max_tokens": 9, "messages": MESSAGES}
    yield from (event.to_dict() for event in client.messages.create(**asked, stream=True))


def ask_recorded(client, model, entry, body):
    config = {"http_options": {"extra_body": body}}
    match entry["api"]:
        case "gemini.streamGenerateContent":
            yield from ask_gemini_stream(client, model, **config)
        case _:
            yield from ask_gemini(client, model, **config)


def ask_recorded_claude(client, model, entry, body):
    body = dict(body)
    asked = {"model": model, "messages": body.pop("messages", MESSAGES), "max_tokens": body.pop("max_tokens", 9)}
    if entry["stream"]:
        yield from (event.to_dict() for event in client.messages.create(**asked, extra_body=body, stream=True))
    else:
        yield client.messages.create(**asked, extra_body=body).to_dict()


if __name__ == "__main__":
    entries = recordings("vertex", "gemini.generateContent", "gemini.streamGenerateContent")
    add_recorded_tests(Recorded, entries, direct, keymux, ask_recorded, "vertex")
    entries = recordings("vertex", "vertex.rawPredict", "vertex.streamRawPredict")
    add_recorded_tests(Recorded, entries, direct_claude, keymux_claude, ask_recorded_claude, "vertex")
    main()
