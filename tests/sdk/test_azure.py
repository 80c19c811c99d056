"""The official OpenAI SDK's clients for Azure through keymux. See run.sh."""

import time
import unittest
import uuid

import openai

from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, SENTENCE, add_recorded_tests, check_cancel, compare
from through import check_revoked, main, needs_recordings, recordings, seen

DATED = {"api_version": "2024-10-21", "max_retries": 0, "timeout": 30}
keymux = openai.AzureOpenAI(azure_endpoint=KEYMUX, api_key=CLIENT_KEY, **DATED)
direct = openai.AzureOpenAI(azure_endpoint=RECORDED, api_key=RECORDED_KEY, **DATED)
# The newer surface: no api-version, the model in the body.
keymux_v1 = openai.OpenAI(base_url=f"{KEYMUX}/openai/v1/", api_key=CLIENT_KEY, max_retries=0, timeout=30)
direct_v1 = openai.OpenAI(base_url=f"{RECORDED}/openai/v1/", api_key=RECORDED_KEY, max_retries=0, timeout=30)

MESSAGES = [{"role": "user", "content": SENTENCE}]
UNARY, STREAM = 49, 40


def ask_chat(client, model):
    yield client.chat.completions.create(model=model, messages=MESSAGES).to_dict()


@needs_recordings
class Deployments(unittest.TestCase):
    def test_deployment_of_the_file(self):
        """A key's `deployments` name the model; the caller knows only what the file calls it."""
        model = "recording-49-gpt"
        without = list(ask_chat(direct, model))
        self.assertEqual(without, list(ask_chat(keymux, "azure/gpt")))
        first, other = seen(model)
        self.assertEqual((other["fault"], other["path"]), (None, first["path"]))

    def test_client_with_a_deployment(self):
        """`azure_deployment` puts it into the client's address, whatever the request says."""
        asked = f"recording-{UNARY}-{uuid.uuid4()}"
        place = {"azure_endpoint": KEYMUX, "azure_deployment": f"azure/{asked}"}
        client = openai.AzureOpenAI(api_key=CLIENT_KEY, **place, **DATED)
        self.assertTrue(client.chat.completions.create(model="ignored", messages=MESSAGES).choices)
        (request,) = seen(asked)
        self.assertEqual(request["path"], f"/openai/deployments/{asked}/chat/completions?api-version=2024-10-21")

    def test_token_of_the_caller(self):
        """`azure_ad_token`: the caller's key as Bearer."""
        client = openai.AzureOpenAI(azure_endpoint=KEYMUX, azure_ad_token=CLIENT_KEY, **DATED)
        compare(self, f"recording-{UNARY}", direct, client, ask_chat, "azure")

    def test_long_stream(self):
        def ask(client, model):
            stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
            yield from (chunk.to_dict() for chunk in stream)

        self.assertEqual(len(compare(self, "long-stream", direct, keymux, ask, "azure")), 2001)

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"

        def start():
            stream = keymux.chat.completions.create(model=f"azure/{model}", messages=MESSAGES, stream=True)
            for _ in range(3):
                next(stream)
            self.assertFalse(seen(model)[0]["left"])
            stream.close()

        check_cancel(self, model, start)


@needs_recordings
class V1(unittest.TestCase):
    def test_chat(self):
        compare(self, f"recording-{UNARY}", direct_v1, keymux_v1, ask_chat, "azure-v1")

    def test_one_surface_for_callers_and_another_for_the_resource(self):
        """What a caller asks on the one is asked on the other, as the key has it."""
        for client, provider, path in (
            (keymux, "azure-v1", "/openai/v1/chat/completions"),
            (keymux_v1, "azure", "/openai/deployments/{}/chat/completions?api-version=2024-10-21"),
        ):
            model = f"recording-{UNARY}-{uuid.uuid4()}"
            list(ask_chat(client, f"{provider}/{model}"))
            (request,) = seen(model)
            self.assertEqual((request["fault"], request["path"]), (None, path.format(model)))


@needs_recordings
class Entra(unittest.TestCase):
    def test_token(self):
        models = [f"recording-{UNARY}-{uuid.uuid4()}" for _ in range(5)]
        for model in models:
            list(ask_chat(keymux, f"azure-entra/{model}"))
        shown = {seen(model)[0]["headers"]["authorization"] for model in models}
        self.assertEqual(len(shown), 1, "a token was asked for more than once")

    def test_token_that_expires(self):
        """One that holds 4 s is followed by another, and no request sees it end."""
        shown = set()
        for _ in range(12):
            model = f"recording-{UNARY}-{uuid.uuid4()}"
            list(ask_chat(keymux, f"azure-brief/{model}"))
            (request,) = seen(model)
            self.assertIsNone(request["fault"])
            shown.add(request["headers"]["authorization"])
            time.sleep(0.5)
        self.assertGreater(len(shown), 1)
        self.assertLess(len(shown), 12)

    def test_token_that_is_taken_back(self):
        def ask(model):
            list(keymux.chat.completions.create(model=f"azure-entra/{model}", messages=MESSAGES, stream=True))

        check_revoked(self, ask)


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            list(ask_chat(keymux, "no-such-model"))
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.AuthenticationError) as caught:
            list(ask_chat(keymux.with_options(api_key="not-the-key"), "azure/x"))
        self.assertNotIn("not-the-key", str(caught.exception))


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def ask_recorded(client, model, entry, body):
    body = dict(body)
    stream = {"stream": True} if entry["stream"] else {}
    match entry["api"]:
        case "openai.embeddings":
            answer = client.embeddings.create(model=model, input=body.pop("input", SENTENCE), extra_body=body)
        case "openai.responses":
            answer = client.responses.create(model=model, extra_body=body, **stream)
        case _:
            asked = {"model": model, "messages": body.pop("messages", MESSAGES), "extra_body": body}
            answer = client.chat.completions.create(**asked, **stream)
    yield from (item.to_dict(warnings=False) for item in (answer if stream else [answer]))


if __name__ == "__main__":
    add_recorded_tests(Recorded, recordings("azure"), direct, keymux, ask_recorded, "azure")
    main()
