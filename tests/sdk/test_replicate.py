"""The official SDK of Replicate through keymux. See run.sh."""

import unittest

import replicate
from replicate.exceptions import ReplicateError

from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, SHARED, add_recorded_tests, compare
from through import main, recordings

keymux = replicate.Client(CLIENT_KEY, base_url=KEYMUX)
direct = replicate.Client(RECORDED_KEY, base_url=RECORDED)

INPUT = {"prompt": "one two three"}
WAITED, STARTED = 298, 300


@unittest.skipUnless(SHARED, "KEYMUX_SHARED is not set")
class Predictions(unittest.TestCase):
    def test_of_a_model(self):
        def ask(client, model):
            owner = model.removesuffix(label)
            model = f"{owner or 'owner/'}{label}"
            yield client.models.predictions.create(model, input=INPUT, wait=True).dict(exclude={"_client"})

        label = f"recording-{WAITED}-test-of-a-model"
        compare(self, f"recording-{WAITED}", direct, keymux, ask, "replicate/owner")


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        with self.assertRaises(ReplicateError) as caught:
            keymux.predictions.create(version="no-such-model", input=INPUT)
        self.assertEqual(caught.exception.status, 404)
        self.assertIn("no-such-model", caught.exception.detail)
        with self.assertRaises(ReplicateError) as caught:
            replicate.Client("not-the-key", base_url=KEYMUX).predictions.create(version="x", input=INPUT)
        self.assertEqual(caught.exception.status, 401)
        self.assertNotIn("not-the-key", str(caught.exception))


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


def ask_recorded(client, model, entry, body):
    wait = {"wait": 5} if entry["place"] % 2 else {}
    yield client.predictions.create(version=model, input=body.get("input") or INPUT, **wait).dict(exclude={"_client"})


if __name__ == "__main__":
    entries = [entry for entry in recordings("replicate", "replicate.predictions") if entry["status"] != 200]
    add_recorded_tests(Recorded, entries, direct, keymux, ask_recorded, "replicate")
    main()
