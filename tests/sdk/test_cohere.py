"""The official SDK of Cohere through keymux. See run.sh."""

import unittest
import uuid

import cohere
from cohere.core.api_error import ApiError

from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, SENTENCE, add_recorded_tests, check_cancel, compare
from through import main, recordings, seen

NO_RETRIES = {"max_retries": 0}
keymux = cohere.ClientV2(CLIENT_KEY, base_url=KEYMUX, timeout=30, client_name="sdk-tests")
direct = cohere.ClientV2(RECORDED_KEY, base_url=RECORDED, timeout=30, client_name="sdk-tests")

MESSAGES = [{"role": "user", "content": SENTENCE}]


class Chat(unittest.TestCase):
    def test_long_stream(self):
        def ask(client, model):
            stream = client.chat_stream(model=model, messages=MESSAGES, request_options=NO_RETRIES)
            yield from (event.dict() for event in stream)

        self.assertEqual(len(compare(self, "long-stream", direct, keymux, ask, "cohere")), 2004)

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"

        def start():
            stream = keymux.chat_stream(model=f"cohere/{model}", messages=MESSAGES)
            for _ in range(4):
                next(stream)
            self.assertFalse(seen(model)[0]["left"])
            stream.close()

        check_cancel(self, model, start)


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        with self.assertRaises(cohere.NotFoundError) as caught:
            keymux.chat(model="no-such-model", messages=MESSAGES, request_options=NO_RETRIES)
        self.assertIn("no-such-model", str(caught.exception.body))
        stranger = cohere.ClientV2("not-the-key", base_url=KEYMUX)
        with self.assertRaises(cohere.UnauthorizedError) as caught:
            stranger.chat(model="cohere/x", messages=MESSAGES, request_options=NO_RETRIES)
        self.assertNotIn("not-the-key", str(caught.exception))

    def test_other_api(self):
        with self.assertRaises(ApiError) as caught:
            keymux.chat(model="echo/echo", messages=MESSAGES, request_options=NO_RETRIES)
        self.assertEqual(caught.exception.status_code, 404)
        self.assertIn("Cohere API", caught.exception.body["message"])


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def ask_recorded(client, model, entry, body):
    body = dict(body)
    asked = {"model": model, "request_options": {"additional_body_parameters": body} | NO_RETRIES}
    match entry["api"]:
        case "cohere.embed":
            kind, types = body.pop("input_type", "search_query"), body.pop("embedding_types", ["float"])
            yield client.embed(texts=["one"], input_type=kind, embedding_types=types, **asked).dict()
        case "cohere.rerank":
            query, documents = body.pop("query"), body.pop("documents")
            yield client.rerank(query=query, documents=documents, **asked).dict()
        case _:
            messages = body.pop("messages", MESSAGES)
            if entry["stream"]:
                yield from (event.dict() for event in client.chat_stream(messages=messages, **asked))
            else:
                yield client.chat(messages=messages, **asked).dict()


if __name__ == "__main__":
    entries = recordings("cohere", "cohere.chat", "cohere.embed", "cohere.rerank")
    add_recorded_tests(Recorded, entries, direct, keymux, ask_recorded, "cohere")
    main()
