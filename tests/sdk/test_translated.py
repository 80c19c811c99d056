"""Every caller's SDK on every provider's recorded answers: it must see what the provider's own SDK sees. See run.sh.

    answers     whole or streamed, as it was recorded
    cuts        a stream that ends or breaks off too early is an error, and never looks like a whole one
    refusals    a provider's error is an error of the caller's SDK, with its status and its words

Streams are cut at three places each; SDK_ALL_CUTS=1 cuts them behind every event, and within.
"""

import base64
import json
import os
import re
import unittest
import uuid

import anthropic
import boto3
import cohere
import openai
from botocore.config import Config
from google import genai

import specs
import turns
import views
from config import CALLERS, kind_of
from frames import boundaries, is_whole
from through import CLIENT_KEY, KEYMUX, RECORDED, RECORDED_KEY, main, needs_recordings, recordings, seen
from views import View

ALL_CUTS = os.environ.get("SDK_ALL_CUTS") == "1"

CHAT, RESPONSES, MESSAGES = "openai.chat", "openai.responses", "anthropic.messages"
GEMINI, GEMINI_STREAM = "gemini.generateContent", "gemini.streamGenerateContent"
CONVERSE, CONVERSE_STREAM = "bedrock.converse", "bedrock.converse_stream"
RAW, RAW_STREAM = "vertex.rawPredict", "vertex.streamRawPredict"

# By API of the recording: the format, and so the SDK that reads the recording itself.
FORMAT = {
    CHAT: "chat",
    RESPONSES: "responses",
    MESSAGES: "anthropic",
    RAW: "anthropic",
    RAW_STREAM: "anthropic",
    GEMINI: "gemini",
    GEMINI_STREAM: "gemini",
    CONVERSE: "bedrock",
    CONVERSE_STREAM: "bedrock",
    "cohere.chat": "cohere",
}
READERS = {
    "chat": views.Chat,
    "responses": views.Responses,
    "anthropic": views.Messages,
    "gemini": views.Gemini,
    "bedrock": views.Converse,
    "cohere": views.Cohere,
}


def clients(url, key, pair):
    no_retries = {"max_retries": 0, "timeout": 30}
    openai_client = openai.OpenAI(base_url=url + "/v1", api_key=key, **no_retries)
    aws = {"aws_access_key_id": os.environ[pair + "_ID"], "aws_secret_access_key": os.environ[pair + "_SECRET"]}
    config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
    place = {"endpoint_url": url, "region_name": "us-east-1"}
    return {
        "chat": openai_client,
        "responses": openai_client,
        "anthropic": anthropic.Anthropic(base_url=url, api_key=key, **no_retries),
        "gemini": genai.Client(api_key=key, vertexai=False, http_options={"base_url": url, "timeout": 30_000}),
        "bedrock": boto3.client("bedrock-runtime", config=config, **place, **aws),
        "cohere": cohere.ClientV2(key, base_url=url, timeout=30, client_name="sdk-tests"),
    }


through = clients(KEYMUX, CLIENT_KEY, "SDK_AWS")
direct = clients(RECORDED, RECORDED_KEY, "RECORDED_AWS")


def seen_by(client, reader, model, stream):
    """The view, and the error that ended it."""
    view = View()
    views.strict = client is through
    try:
        READERS[reader].read(client[reader], model, stream, view)
    except AssertionError:
        raise
    except Exception as error:  # Whatever the SDK or its HTTP client throws.
        if isinstance(error, (KeyError, TypeError, AttributeError, IndexError, ValueError)) and is_ours(error):
            raise
        return view, error
    return view, None


def is_ours(error):
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    return os.path.basename(frame.tb_frame.f_code.co_filename) in ("views.py", "test_translated.py")


def model_for(entry, caller, label):
    """By what name the recording is asked for, so that it is asked for in its own format; None: it cannot be."""
    kind, spoken = kind_of(entry, caller), FORMAT[entry["api"]]
    if entry["place"] in UNREADABLE or spoken == caller or (spoken == "cohere" and caller == "chat"):
        return None
    if entry["api"] == RESPONSES:
        # Models of this name are asked in this format only.
        label = f"{label}-codex"
    elif entry["api"] in (RAW, RAW_STREAM):
        label = f"{label}-claude"
    else:
        # A name that says nothing of its maker may be Claude's.
        label += {"azure": "-gpt-4o", "bedrock": "-amazon.nova-lite-v1", "vertex": "-gemini-2.5-flash"}.get(kind, "")
    if entry["status"] >= 400 or "error_in_stream" in entry["features"]:
        kind = f"refused-{entry['place']}-{caller}"
    return f"{kind}/{label}"


def entries(keep):
    every = [entry for entry in recordings(None) if entry["api"] in FORMAT]
    return [entry for entry in every if keep(entry)]


# Recordings that no provider has sent, by their places in the index.
UNREADABLE = {
    315: "the recorder wrote numbers for the names of Gemini's enumerations",
    329: "the recorder wrote a whole message as one event",
}
EXPECTED = {}


def expected_of(entry):
    if entry["place"] not in EXPECTED:
        EXPECTED[entry["place"]] = seen_by(direct, FORMAT[entry["api"]], f"recording-{entry['place']}", entry["stream"])
    return EXPECTED[entry["place"]]


# How an ending may come to a caller whose format has no such word.
WORDS = {
    "chat": {"sequence": {"end"}, "refusal": {"filter"}, "pause": {"end"}},
    "responses": {"sequence": {"end"}, "refusal": {"filter", "end"}, "pause": {"end"}},
    "anthropic": {"filter": {"refusal"}},
    "gemini": {"sequence": {"end"}, "refusal": {"filter"}, "pause": {"end"}},
    "bedrock": {"refusal": {"filter"}, "pause": {"end"}},
}
# Formats that do not count these apart.
UNCOUNTED = {"anthropic": {"reasoning"}, "bedrock": {"reasoning"}}


def spelled(caller, id):
    """The id in the caller's alphabet. Anthropic's API accepts `^[a-zA-Z0-9_-]+$`, also in the next turn."""
    if caller != "anthropic" or not id:
        return id
    return re.sub(r"[^a-zA-Z0-9_-]", lambda sign: "".join(f"_{byte:02x}" for byte in sign[0].encode()), id)


def differences(caller, spoken, without, got):
    """What the caller's SDK does not see as the provider's own does."""
    found = []

    def check(name, expected, seen):
        if expected != seen:
            found.append(f"{name}: {expected!r:.300} and through keymux {seen!r:.300}")

    check("text", without.text + without.refusal, got.text + got.refusal)
    if caller in ("chat", "responses"):
        check("refusal", without.refusal, got.refusal)
    check("thoughts", without.thoughts, got.thoughts)
    # A call that was cut off has no arguments that each format could say.
    damaged = any(isinstance(told, str) for _, told in without.called())
    if not (damaged and without.end == "length"):
        check("calls", without.called(), got.called())
    if "gemini" not in (caller, spoken):
        check("ids", [spelled(caller, id) for id in without.ids()], got.ids())
    ends = WORDS[caller].get(without.end, {without.end})
    if without.calls and without.end in ("end", "calls"):
        ends = {"end", "calls"}
    if without.refusal:
        ends = ends | {"refusal", "filter"}
    if got.end not in ends:
        found.append(f"end: {without.end!r} and through keymux {got.end!r}")
    counts = ("input", "cached", "output", "reasoning")
    if without.usage.get("cached", 0) > without.usage.get("input", 0):
        counts = ("output", "reasoning")  # xAI's on Azure: more tokens of the prompt from the cache than it has.
    for name in counts:
        if name not in UNCOUNTED.get(caller, ()) and name in without.usage | got.usage:
            check(f"usage {name}", without.usage.get(name) or 0, got.usage.get(name) or 0)
    return found


def fold(text, at_most=4000):
    return text if len(text) <= at_most else text[:at_most] + "…"


@needs_recordings
class Answers(unittest.TestCase):
    pass


def add_answer(entry, caller):
    model = model_for(entry, caller, f"recording-{entry['place']}")
    if model is None:
        return

    def test(self):
        without, refused = expected_of(entry)
        got, error = seen_by(through, caller, model, entry["stream"])
        if refused is not None:
            self.assertIsNotNone(error, "the provider's own SDK raises an error")
            return
        if error is not None:
            self.fail(fold(f"{type(error).__name__}: {error}"))
        if found := differences(caller, FORMAT[entry["api"]], without, got):
            self.fail(fold("\n" + "\n".join(found)))

    setattr(Answers, f"test {caller} of {entry['id']} ({entry['place']})", test)


@needs_recordings
class Refusals(unittest.TestCase):
    pass


def add_refusal(entry, caller):
    model = model_for(entry, caller, f"recording-{entry['place']}")
    if model is None:
        return

    def test(self):
        _, own = expected_of(entry)
        _, error = seen_by(through, caller, model, entry["stream"])
        self.assertIsNotNone(error)
        status = status_in(caller, entry)
        self.assertEqual(status, status_of(error), f"{own!r:.400} and through keymux {error!r:.400}")
        words = words_of(entry)
        self.assertTrue(words and words in str(error), f"{words!r} is not in {error!s:.600}")

    setattr(Refusals, f"test {caller} of {entry['id']} ({entry['place']})", test)


# Errors that say more than their status does: what they are to a caller of another format.
MEANT = {74: 401, 85: 404, 149: 401, 266: 404, 360: 401}


def status_in(caller, entry):
    status = MEANT.get(entry["place"], entry["status"])
    if caller == "bedrock" and status == 401:
        return 403  # Amazon's status of a credential that it does not know.
    if caller != "anthropic" and status == 529:
        return 503  # Of Anthropic's alone.
    return status


def status_of(error):
    for name in ("status_code", "code"):
        if isinstance(value := getattr(error, name, None), int):
            return value
    response = getattr(error, "response", None)
    return response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(response, dict) else None


def words_of(entry):
    """The first words of the recorded error's message."""
    body = json.loads(body_of(entry))
    body = body[0] if isinstance(body, list) else body
    error = body.get("error") or body.get("detail") or body
    if isinstance(error, dict):
        error = error.get("message")
    message = error or body.get("message") or body.get("Message") or ""
    return re.split(r"[\n\"]|sk-|\*\*", str(message))[0][:40].strip()


def recording_of(entry):
    path = os.path.join(os.environ["KEYMUX_SHARED"], f"fixtures/{entry['id']}.json")
    with open(path) as file:
        return json.load(file)


def body_of(entry):
    response = recording_of(entry)["response"]
    return base64.b64decode(response["body_b64"]) if "body_b64" in response else response["body"].encode()


@needs_recordings
class Cuts(unittest.TestCase):
    pass


def add_cuts(entry, caller):
    if model_for(entry, caller, "") is None:
        return

    def test(self):
        body, spoken = body_of(entry), FORMAT[entry["api"]]
        without, _ = expected_of(entry)
        places = boundaries(spoken, body)
        if not ALL_CUTS:
            early, middle, late = places[1:2], places[len(places) // 2 :][:1], places[-2:-1]
            within = [place + 9 for place in middle if place + 9 < len(body)]
            places = sorted({*early, *middle, *late, *within})
        else:
            places = sorted({*places, *(place + 9 for place in places if place + 9 < len(body))})
        wrong = []
        for place in places:
            for how in ("ends", "breaks"):
                whole = is_whole(spoken, body[:place], how == "ends")
                label = f"recording-{entry['place']}-{how}-{place}-{caller}-{uuid.uuid4().hex[:8]}"
                got, error = seen_by(through, caller, model_for(entry, caller, label), True)
                if error is None and not whole:
                    wrong.append(f"{how} at {place}: looks whole, {got!r:.200}")
                elif error is None and whole and got.end is None:
                    wrong.append(f"{how} at {place}: no error and no end")
                for name in ("text", "thoughts"):
                    if not getattr(without, name).startswith(getattr(got, name)) and not without.refusal:
                        wrong.append(f"{how} at {place}: {name} {getattr(got, name)!r:.200}")
        if wrong:
            self.fail(fold("\n" + "\n".join(wrong)))

    setattr(Cuts, f"test {caller} of {entry['id']} ({entry['place']})", test)


def add_whole_cut(entry, caller):
    if model_for(entry, caller, "") is None:
        return

    def test(self):
        place = len(body_of(entry)) * 2 // 3
        for how in ("ends", "breaks"):
            label = f"recording-{entry['place']}-{how}-{place}-{caller}-{uuid.uuid4().hex[:8]}"
            got, error = seen_by(through, caller, model_for(entry, caller, label), False)
            self.assertIsNotNone(error, f"{how} at {place}: looks whole, {got!r:.200}")

    setattr(Cuts, f"test {caller} of {entry['id']} ({entry['place']})", test)


@needs_recordings
class Turns(unittest.TestCase):
    """What a program sends back of an answer reaches the provider as the provider had said it."""


def add_turn(entry, caller):
    model = model_for(entry, caller, f"recording-{entry['place']}")
    if model is None:
        return

    def test(self):
        without, _ = expected_of(entry)
        if not without.calls or without.end == "length":
            return
        model = model_for(entry, caller, f"recording-{entry['place']}-turn-{uuid.uuid4().hex[:8]}")
        tools = sorted({name for _, name, _ in without.calls})
        turns.TURNS[caller](through[caller], model, tools)
        first, second = seen(model.split("/", 1)[1])
        sent = base64.b64decode(second["body"]).decode()
        spoken = FORMAT[entry["api"]]
        if entry["api"] != RAW:  # Its envelope is Google's.
            self.assertEqual([], specs.faults(spoken, json.loads(sent)), sent[:2000])
        plain = list(turns.leaves(json.loads(sent)))
        for id, name, _ in without.calls:
            self.assertIn(name, plain)
            id = spelled(caller, id)
            if id and spoken != "gemini" and "gemini" != caller and kind_of(entry, caller) != "mistral":
                self.assertGreaterEqual(plain.count(id), 2, f"{id} of the call and its result: {sent:.1500}")
        if caller == "chat" and spoken != "gemini":
            return  # Of this format's callers only Google's clients know signatures.
        for seal in turns.seals(spoken, recording_of(entry)):
            self.assertIn(seal, plain, f"a signature is missing in {sent:.1500}")

    setattr(Turns, f"test {caller} of {entry['id']} ({entry['place']})", test)


for caller in CALLERS:
    for entry in entries(lambda entry: entry["status"] == 200):
        add_answer(entry, caller)
    for entry in entries(lambda entry: entry["status"] == 200 and not entry["stream"]):
        add_whole_cut(entry, caller)
        if "tool_call" in entry["features"]:
            add_turn(entry, caller)
    for entry in entries(lambda entry: entry["status"] >= 400):
        add_refusal(entry, caller)
    for entry in entries(lambda entry: entry["status"] == 200 and entry["stream"]):
        add_cuts(entry, caller)

if __name__ == "__main__":
    main()
