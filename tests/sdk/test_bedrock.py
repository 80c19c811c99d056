"""boto3 and Anthropic's client for Bedrock through keymux. See run.sh."""

import base64
import json
import os
import ssl
import unittest
import unittest.mock
import uuid

import anthropic
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from through import CLIENT_KEY, KEYMUX, RECORDED, SENTENCE, add_recorded_tests, check_cancel, compare
from through import main, needs_recordings, recordings, seen

PROVIDER = (os.environ["RECORDED_AWS_ID"], os.environ["RECORDED_AWS_SECRET"])
CALLER = (os.environ["SDK_AWS_ID"], os.environ["SDK_AWS_SECRET"])
CERTIFICATE = os.environ["KEYMUX_CERTIFICATE"]
CONVERSE, CONVERSE_STREAM, INVOKE, INVOKE_STREAM = 82, 89, 95, 101


def signing(url, pair):
    config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
    pair = {"aws_access_key_id": pair[0], "aws_secret_access_key": pair[1]}
    place = {"endpoint_url": url, "region_name": "us-east-1", "verify": CERTIFICATE}
    return boto3.client("bedrock-runtime", config=config, **place, **pair)


class WithApiKey:
    """A client by AWS_BEARER_TOKEN_BEDROCK, which boto3 may read with every call."""

    def __init__(self, url, key):
        self.key = {"AWS_BEARER_TOKEN_BEDROCK": key}
        with unittest.mock.patch.dict(os.environ, self.key):
            # A session of its own: one remembers that it found no token.
            session = boto3.Session(region_name="us-east-1")
            self.client = session.client("bedrock-runtime", endpoint_url=url, verify=CERTIFICATE)

    def converse(self, **asked):
        with unittest.mock.patch.dict(os.environ, self.key):
            return self.client.converse(**asked)


def claude(url, **credential):
    http = anthropic.DefaultHttpxClient(verify=ssl.create_default_context(cafile=CERTIFICATE))
    return anthropic.AnthropicBedrock(
        base_url=url, aws_region="us-east-1", http_client=http, max_retries=0, timeout=30, **credential
    )


def claude_signing(url, pair):
    return claude(url, aws_access_key=pair[0], aws_secret_key=pair[1])


keymux = signing(KEYMUX, CALLER)
direct = signing(RECORDED, PROVIDER)
keymux_claude = claude_signing(KEYMUX, CALLER)
direct_claude = claude_signing(RECORDED, PROVIDER)

MESSAGES = [{"role": "user", "content": [{"text": SENTENCE}]}]


@needs_recordings
class Calls(unittest.TestCase):
    def compare(self, label, ask):
        return compare(self, label, direct, keymux, ask, "bedrock")

    def test_each_form_of_the_caller_s_credential(self):
        """A signature by a client's pair; a client's key in the place of a Bedrock API key."""
        for caller in (keymux, WithApiKey(KEYMUX, CLIENT_KEY)):
            for form in (uuid.uuid4(), "v1:0", "1234:56k"):

                def ask(client, model):
                    yield answer_of(client.converse(modelId=f"{model}-{form}", messages=MESSAGES))

                model = f"recording-{CONVERSE}-{uuid.uuid4()}"
                without = list(ask(direct, model))
                self.assertEqual(without, list(ask(caller, f"bedrock/{model}")))
                first, other = seen(f"{model}-{form}")
                self.assertEqual((first["fault"], other["fault"]), (None, None))
                self.assertEqual((first["path"], first["body"]), (other["path"], other["body"]))

    def test_api_key_of_the_provider(self):
        model = f"recording-{CONVERSE}-{uuid.uuid4()}-v1:0"
        keymux.converse(modelId=f"bedrock-bearer/{model}", messages=MESSAGES)
        (request,) = seen(model)
        self.assertEqual((request["fault"], request["path"]), (None, f"/model/{model.replace(':', '%3A')}/converse"))
        self.assertTrue(request["headers"]["authorization"].startswith("Bearer "))

    def test_id_that_is_an_arn(self):
        def ask(client, model):
            yield answer_of(client.converse(modelId=model, messages=MESSAGES))

        arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/recording-{CONVERSE}-v1:0"
        without = list(ask(direct, arn))
        self.assertEqual(without, list(ask(keymux, f"bedrock/{arn}")))
        first, other = seen(arn)
        self.assertEqual((other["fault"], other["path"]), (None, first["path"]))

    def test_region_that_is_not_configured(self):
        with self.assertRaises(ClientError):
            keymux.converse(modelId="bedrock/eu-west-1/recording-82", messages=MESSAGES)

    def test_count_tokens(self):
        def ask(client, model):
            asked = {"converse": {"messages": MESSAGES}}
            yield answer_of(client.count_tokens(modelId=model, input=asked))

        compare(self, "recording-92", direct, keymux, ask, "refused-92")

    def test_guardrail_and_trace(self):
        """What InvokeModel says in headers."""

        def ask(client, model):
            said = {"guardrailIdentifier": "g-1", "guardrailVersion": "DRAFT", "trace": "ENABLED"}
            yield answer_of(client.invoke_model(modelId=model, body=b'{"a":1.0}', accept="application/json", **said))

        self.compare(f"recording-{INVOKE}", ask)
        for request in seen(f"recording-{INVOKE}-calls-test-guardrail-and-trace"):
            self.assertEqual(request["headers"]["x-amzn-bedrock-guardrailidentifier"], "g-1")
            self.assertEqual(request["headers"]["x-amzn-bedrock-trace"], "ENABLED")

    def test_long_stream(self):
        def ask(client, model):
            yield from client.converse_stream(modelId=model, messages=MESSAGES)["stream"]

        self.assertEqual(len(self.compare("long-stream", ask)), 2004)

    def test_closing_a_stream_frees_the_upstream(self):
        model = f"slow-stream-{uuid.uuid4()}"

        def start():
            stream = keymux.converse_stream(modelId=f"bedrock/{model}", messages=MESSAGES)["stream"]
            events = iter(stream)
            for _ in range(4):
                next(events)
            self.assertFalse(seen(model)[0]["left"])
            stream.close()

        check_cancel(self, model, start)


@needs_recordings
class Claude(unittest.TestCase):
    def compare(self, label, ask, caller=keymux_claude):
        return compare(self, label, direct_claude, caller, ask, "bedrock")

    def test_create(self):
        def ask(client, model):
            yield client.messages.create(model=model, max_tokens=9, messages=CLAUDE_MESSAGES).to_dict()

        self.compare("recording-93", ask)

    def test_long_stream(self):
        self.assertEqual(len(self.compare("long-stream", ask_claude_stream)), 2005)

    def test_api_key(self):
        caller = claude(KEYMUX, api_key=CLIENT_KEY)
        self.compare(f"recording-{INVOKE_STREAM}", ask_claude_stream, caller)


class Errors(unittest.TestCase):
    def test_of_keymux(self):
        for caller, status, kind in (
            (keymux, 404, "ResourceNotFoundException"),
            (signing(KEYMUX, (CALLER[0], "not-the-secret")), 403, None),
            (signing(KEYMUX, ("AKIANOBODY", CALLER[1])), 403, None),
            (WithApiKey(KEYMUX, "not-the-key"), 403, None),
        ):
            with self.assertRaises(ClientError) as caught:
                caller.converse(modelId="no-such-model", messages=MESSAGES)
            answer = caught.exception.response
            if kind:
                self.assertEqual(answer["Error"]["Code"], kind)
            self.assertIn(answer["ResponseMetadata"]["HTTPStatusCode"], (status, 401))
            self.assertNotIn("not-the-", str(answer))


class Recorded(unittest.TestCase):
    """Through keymux the SDK sees what it sees without, and the provider gets the same bytes."""


CLAUDE_MESSAGES = [{"role": "user", "content": SENTENCE}]


def ask_claude_stream(client, model):
    asked = {"model": model, "max_tokens": 9, "messages": CLAUDE_MESSAGES}
    yield from (event.to_dict() for event in client.messages.create(**asked, stream=True))


def answer_of(answer):
    found = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    if "body" in found:
        found["body"] = found["body"].read()
    return found | {"status": answer["ResponseMetadata"]["HTTPStatusCode"]}


def ask_recorded(client, model, entry, body):
    try:
        match entry["api"]:
            case "bedrock.converse":
                yield answer_of(client.converse(modelId=model, **converse_of(body)))
            case "bedrock.converse_stream":
                yield from client.converse_stream(modelId=model, **converse_of(body))["stream"]
            case "bedrock.invoke_model":
                yield answer_of(client.invoke_model(modelId=model, body=json.dumps(body)))
            case "bedrock.invoke_model_stream":
                asked = {"modelId": model, "body": json.dumps(body)}
                yield from client.invoke_model_with_response_stream(**asked)["body"]
    except EventStreamError as error:
        yield error.response["Error"]


def converse_of(body):
    """A recorded body as boto3 takes it: bytes as bytes."""
    return {"messages": MESSAGES} | unpacked(body)


def unpacked(value):
    match value:
        case dict():
            packed = ("bytes", "redactedContent")
            pairs = value.items()
            return {n: base64.b64decode(v) if n in packed and isinstance(v, str) else unpacked(v) for n, v in pairs}
        case list():
            return [unpacked(item) for item in value]
        case _:
            return value


if __name__ == "__main__":
    apis = ("bedrock.converse", "bedrock.converse_stream", "bedrock.invoke_model", "bedrock.invoke_model_stream")
    add_recorded_tests(Recorded, recordings("bedrock", *apis), direct, keymux, ask_recorded, "bedrock")
    main()
