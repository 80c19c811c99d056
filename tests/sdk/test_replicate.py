"""The official SDK of Replicate through keymux. See run.sh."""

import re
import unittest
import uuid

import httpx
import replicate
from replicate.exceptions import ReplicateError

from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, add_recorded_tests, compare
from through import main, needs_recordings, recordings, seen

keymux = replicate.Client(CLIENT_KEY, base_url=KEYMUX)
direct = replicate.Client(RECORDED_KEY, base_url=RECORDED)

INPUT = {"prompt": "one two three"}
WAITED, STARTED = 298, 300
# What keymux adds to an id, where there is more than one key or client that it could belong to.
SIGN = re.compile(r"\.kmx_[\w-]+")


@needs_recordings
class Predictions(unittest.TestCase):
    def test_of_a_model_and_of_a_deployment(self):
        """The path names them, an owner and a name; keymux's own name of the provider stands before both."""
        for collection in ("models", "deployments"):
            name = f"recording-{WAITED}-{uuid.uuid4()}"
            with httpx.Client(base_url=KEYMUX, headers={"authorization": f"Bearer {CLIENT_KEY}"}) as http:
                asked = f"/v1/{collection}/replicate%2Fowner/{name}/predictions"
                answer = http.post(asked, json={"input": INPUT}, headers={"prefer": "wait"})
                self.assertEqual(answer.status_code, 201)
                (request,) = seen(name)
                self.assertEqual((request["fault"], request["headers"]["prefer"]), (None, "wait"))
                self.assertEqual(request["path"], f"/v1/{collection}/owner/{name}/predictions")

    def test_wait(self):
        def ask(client, model):
            yield answer_of(client.predictions.create(version=model, input=INPUT, wait=7))

        compare(self, f"recording-{WAITED}", direct, keymux, ask, "replicate")
        for request in seen(f"recording-{WAITED}-predictions-test-wait"):
            self.assertEqual(request["headers"]["prefer"], "wait=7")

    def test_a_prediction_is_fetched_and_cancelled(self):
        made = keymux.predictions.create(version=f"replicate/recording-{STARTED}-kept", input=INPUT)
        for url in made.urls.values():
            self.assertTrue(url.startswith(KEYMUX), url)
        plain = SIGN.sub("", made.id)
        # The recorded answer is of another prediction.
        self.assertEqual(keymux.predictions.get(made.id).model, "stability-ai/sdxl")
        keymux.predictions.cancel(made.id)
        paths = [(request["fault"], request["path"]) for request in seen(plain)]
        # Every provider of one key may be asked for an id without a sign, until one has it.
        self.assertEqual(paths, [(None, f"/v1/predictions/{plain}"), (None, f"/v1/predictions/{plain}/cancel")])

    def test_an_id_with_a_sign_that_nobody_made_is_nobody_s(self):
        with self.assertRaises(ReplicateError) as caught:
            keymux.predictions.get("vdcbnszbj37qhlzgoergjj5dsa.kmx_AAAAAAAAAAAAAAAAAAAAAA")
        self.assertEqual(caught.exception.status, 404)


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        with self.assertRaises(ReplicateError) as caught:
            keymux.predictions.create(version="no-such-provider/model", input=INPUT)
        self.assertEqual(caught.exception.status, 404)
        self.assertIn("no-such-provider", caught.exception.detail)
        with self.assertRaises(ReplicateError) as caught:
            replicate.Client("not-the-key", base_url=KEYMUX).predictions.create(version="x", input=INPUT)
        self.assertEqual(caught.exception.status, 401)
        self.assertNotIn("not-the-key", str(caught.exception))


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def answer_of(prediction):
    """Without what keymux changes: the sign of ids, and the host of addresses."""
    found = prediction.dict(exclude={"_client"})
    found["id"] = SIGN.sub("", found["id"])
    urls = {name: SIGN.sub("", url).removeprefix(KEYMUX) for name, url in (found.pop("urls") or {}).items()}
    urls.pop("stream", None)
    found["urls"] = {name: url.removeprefix("https://api.replicate.com") for name, url in urls.items()}
    return found


def ask_recorded(client, model, entry, body):
    yield answer_of(client.predictions.create(version=model, input=body.get("input") or INPUT))


if __name__ == "__main__":
    entries = [entry for entry in recordings("replicate", "replicate.predictions") if entry["status"] != 200]
    add_recorded_tests(Recorded, entries, direct, keymux, ask_recorded, "replicate")
    main()
