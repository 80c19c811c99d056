"""What an SDK sees through keymux and without: the frame of the Python tests. See run.sh."""

import base64
import json
import os
import pathlib
import re
import sys
import time
import traceback
import unittest
import urllib.parse
import urllib.request
import uuid

KEYMUX = os.environ["KEYMUX_URL"]
RECORDED = os.environ["RECORDED_URL"]
CLIENT_KEY = os.environ["SDK_CLIENT_KEY"]
RECORDED_KEY = os.environ["RECORDED_KEY"]
SHARED = os.environ.get("KEYMUX_SHARED")

HERE = pathlib.Path(__file__).parent
SENTENCE = "one two three"

# Of a request's head, what a provider acts on and keymux must not touch.
KEPT_HEADERS = ("content-type", "accept", "anthropic-version", "anthropic-beta", "prefer", "user-agent")


needs_recordings = unittest.skipUnless(SHARED, "KEYMUX_SHARED is not set")


def recordings(provider, *apis):
    """The recordings of a provider, or of all, each with its place in the index; all of its APIs when none is named."""
    if not SHARED:
        return []
    index = json.loads((pathlib.Path(SHARED) / "fixtures/index.json").read_text())
    for place, entry in enumerate(index):
        entry["place"] = place
    return [entry for entry in index if provider in (entry["provider"], None) and (not apis or entry["api"] in apis)]


def request_of(entry):
    """The recorded request's body, without what an SDK fills in by itself."""
    recording = json.loads((pathlib.Path(SHARED) / f"fixtures/{entry['id']}.json").read_text())
    body = dict(recording["request"]["body"] or {})
    body.pop("model", None)
    body.pop("stream", None)
    return body


def compare(test, label, direct, keymux, ask, kind=None, place=None, times=1):
    """Asks the provider itself and then keymux, and finds no difference: neither for the caller in what `ask` yields,
    nor for the provider in path, body and those headers that matter to it. `ask` takes a client and a model. keymux
    asks `times` as often: a target's only key once more after a provider's failure."""
    model = f"{label}-{re.sub('[^a-z0-9]+', '-', test.id().split('.', 1)[-1].lower())}"[:120]
    without = outcome(ask, direct, model)
    through = outcome(ask, keymux, f"{kind}/{model}" if kind else model)
    test.maxDiff = 2000
    requests = seen(model)
    half = len(requests) // (1 + times)
    test.assertIsNone(requests[0]["fault"], "this test's own client shows a wrong credential")
    test.assertEqual(without, through)
    test.assertEqual((len(requests), half > 0), ((1 + times) * half, True), "keymux asked more or less often")
    for first, other in zip(requests[:half] * times, requests[half:]):
        test.assertIsNone(other["fault"])
        test.assertEqual(first["path"], other["path"])
        test.assertEqual(base64.b64decode(first["body"]), base64.b64decode(other["body"]))
        for name in KEPT_HEADERS:
            test.assertEqual(first["headers"].get(name), other["headers"].get(name), name)
    return through


def outcome(ask, client, model):
    """Everything that a program sees of an exchange: what it gets, and the error that ends it."""
    found = []
    try:
        for item in ask(client, model):
            found.append(item)
    except Exception as error:  # Whatever the SDK or its HTTP client throws.
        if HERE == pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename).parent:
            raise  # A mistake in a test.
        told = {"error": type(error).__name__}
        for name in ("status_code", "code", "status", "body", "details", "message", "detail", "title"):
            if isinstance(value := getattr(error, name, None), (str, int, dict, list)):
                told[name] = value
        if isinstance(response := getattr(error, "response", None), dict):
            told["response"] = {name: value for name, value in response.items() if name != "ResponseMetadata"}
        found.append(told)
    return found


def add_recorded_tests(case, entries, direct, keymux, ask, kind):
    """One test for each recording; `ask` takes a client, a model, the entry and its request's body."""
    if not SHARED:
        case.test_recordings = needs_recordings(lambda self: None)
    for entry in entries:

        def test(self, entry=entry):
            body = request_of(entry)
            provider = kind if entry["status"] < 400 else f"refused-{entry['place']}"
            label = f"recording-{entry['place']}"
            times = 2 if entry["status"] >= 500 else 1
            compare(self, label, direct, keymux, lambda client, model: ask(client, model, entry, body), provider, times=times)

        setattr(case, f"test {entry['id']}", test)


def check_cancel(test, model, start):
    """`start` begins a stream of that model, reads a little of it and closes it; the provider must notice."""
    start()
    deadline = time.monotonic() + 0.5
    while not seen(model)[0]["left"]:
        test.assertLess(time.monotonic(), deadline, "the upstream was not freed within 0.5 s")
        time.sleep(0.01)
    test.assertIsNone(seen(model)[0]["fault"])


def seen(model):
    """What came to recorded.py for a model."""
    with urllib.request.urlopen(f"{RECORDED}/seen?model={urllib.parse.quote(model)}") as answer:
        return json.load(answer)


def asked_of_provider(path):
    """An answer of recorded.py's own."""
    with urllib.request.urlopen(RECORDED + path) as answer:
        return json.load(answer)


def check_revoked(test, ask):
    """A token that is taken back costs one refused request, and then there is another. `ask` takes a model."""
    before, after = f"short-stream-before-{uuid.uuid4()}", f"short-stream-after-{uuid.uuid4()}"
    ask(before)
    (first,) = seen(before)
    asked_of_provider("/tokens/revoke/" + first["headers"]["authorization"].removeprefix("Bearer "))
    ask(after)
    refused, second = seen(after)
    shown = [request["headers"]["authorization"] for request in (first, refused, second)]
    test.assertEqual((shown[0] == shown[1], shown[1] == shown[2]), (True, False))
    test.assertEqual((first["fault"], second["fault"]), (None, None))


def main():
    if pattern := os.environ.get("SDK_ONLY"):
        unittest.defaultTestLoader.testNamePatterns = [pattern]
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped {test}: {reason}")
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)
