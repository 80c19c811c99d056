"""Every recorded request of every caller's format, to a provider of each other format. See run.sh.

It is a request by the provider's own specification, with every word of the conversation and every tool in it; or a 400
that points at what the provider's format cannot say.
"""

import base64
import collections
import json
import os
import re
import unittest
import urllib.parse
import uuid

import httpx

import specs
from through import CLIENT_KEY, KEYMUX, main, needs_recordings, recordings, seen

CALLERS = {
    "openai.chat": "chat",
    "openai.responses": "responses",
    "anthropic.messages": "anthropic",
    "gemini.generateContent": "gemini",
    "gemini.streamGenerateContent": "gemini",
    "bedrock.converse": "bedrock",
    "bedrock.converse_stream": "bedrock",
}
# Target: format, and by place the answers that it gives whole and streamed.
TARGETS = {
    "openai": ("chat", 250, 241),
    "openai-codex": ("responses", 282, 272),
    "anthropic": ("anthropic", 31, 14),
    "gemini": ("gemini", 316, 321),
    "bedrock": ("bedrock", 79, 89),
    "mistral": ("chat", 250, 241),
    "together": ("chat", 250, 241),
    "zai": ("chat", 250, 241),
    "deepseek": ("chat", 250, 241),
    "cohere": ("cohere", 118, 113),
}

http = httpx.Client(base_url=KEYMUX, headers={"authorization": f"Bearer {CLIENT_KEY}"}, timeout=30)


def recording_of(entry):
    with open(os.path.join(os.environ["KEYMUX_SHARED"], f"fixtures/{entry['id']}.json")) as file:
        return json.load(file)


def send(caller, model, body, stream):
    model = urllib.parse.quote(model, safe="/")
    match caller:
        case "chat":
            return http.post("/v1/chat/completions", json=body | {"model": model})
        case "responses":
            return http.post("/v1/responses", json=body | {"model": model})
        case "anthropic":
            return http.post("/v1/messages", json=body | {"model": model})
        case "gemini":
            how = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return http.post(f"/v1beta/models/{model}:{how}", json=body)
        case "bedrock":
            model = urllib.parse.quote(model, safe="")
            return http.post(f"/model/{model}/converse{'-stream' if stream else ''}", json=body)


def words(caller, body):
    """What is said in the conversation, and the names of the tools."""
    match caller:
        case "chat":
            for message in body.get("messages") or []:
                yield from texts(message.get("content"))
                for call in message.get("tool_calls") or []:
                    yield call["function"]["name"]
        case "responses":
            yield from texts(body.get("instructions"))
            given = body.get("input")
            yield from texts(given if isinstance(given, str) else None)
            for item in given if isinstance(given, list) else []:
                if item.get("type", "message") == "message":
                    yield from texts(item.get("content"))
                elif item["type"] in ("function_call", "function_call_output"):
                    yield item.get("name")
                    yield from texts(item.get("output"))
        case "anthropic":
            yield from texts(body.get("system"))
            for message in body.get("messages") or []:
                yield from texts(message.get("content"))
        case "gemini":
            contents = body.get("contents") or []
            for turn in [body.get("systemInstruction") or {}, *contents]:
                for part in turn.get("parts") or []:
                    yield None if part.get("thought") else part.get("text")
                    yield (part.get("functionCall") or {}).get("name")
        case "bedrock":
            yield from texts(body.get("system"))
            for message in body.get("messages") or []:
                yield from texts(message.get("content"))
    yield from words_of_tools(caller, body)


def words_of_tools(caller, body):
    tools = (body.get("toolConfig") or {}).get("tools") if caller == "bedrock" else body.get("tools")
    for tool in tools or []:
        match caller:
            case "chat":
                yield tool.get("function", {}).get("name")
            case "responses":
                yield tool.get("name")
            case "anthropic":
                yield tool.get("name") if "input_schema" in tool else None
            case "gemini":
                yield from (function.get("name") for function in tool.get("functionDeclarations") or [])
            case "bedrock":
                yield (tool.get("toolSpec") or {}).get("name")


def texts(content):
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") not in ("thinking", "reasoning"):
            yield part.get("text")
            yield (part.get("toolUse") or {}).get("name")
            if part.get("type") == "tool_use":
                yield part["name"]
            yield from texts(part.get("content") if part.get("type") == "tool_result" else None)
            yield from texts((part.get("toolResult") or {}).get("content"))


def strings(value):
    """All text in a body, also what stands as JSON in a text."""
    if isinstance(value, str):
        yield value
        if value[:1] in "{[":
            try:
                yield from strings(json.loads(value))
            except ValueError:
                pass
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


# Where a caller may write a thing in an older place than the one that is told.
OLDER = {
    "/output_config/format": "/output_format",
    "/generationConfig/responseJsonSchema": "/generationConfig/response_schema",
}


def points_into(pointer, body):
    return is_in(pointer, body) or (pointer in OLDER and is_in(OLDER[pointer], body))


def is_in(pointer, body):
    for step in pointer.strip("/").split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            body = body[int(step)] if isinstance(body, list) else body[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return True


refused = collections.Counter()


@needs_recordings
class Requests(unittest.TestCase):
    @classmethod
    def tearDownClass(cls):
        for reason, count in sorted(refused.items()):
            print(f"refused {count} {reason}")

    def refusal(self, answer, body, caller, target):
        told = answer.text
        pointer = re.search(r"(?<![\w/])(/[\w~/.\-]+)", told.replace("\\/", "/"))
        self.assertIsNotNone(pointer, told[:400])
        self.assertTrue(points_into(pointer[1].rstrip("."), body), f"{pointer[1]} is not in the request: {told:.400}")
        message = re.search(r'"message": ?"([^"]*)', told)
        refused[f"{caller} to {target}: " + re.sub(r"\d+", "N", message[1] if message else told)[:160]] += 1


def add(entry, caller, target):
    form, whole, streamed = TARGETS[target]
    if form == caller and not target.endswith("-codex"):
        return
    if caller == "chat" and (form == "chat" or target == "cohere"):
        return
    if caller == "responses" and (form == "responses" or target not in ("mistral", "zai", "anthropic", "gemini", "bedrock", "cohere")):
        return

    def test(self):
        recorded = recording_of(entry)
        body = recorded["request"]["body"]
        stream = bool(body.get("stream")) or "tream" in entry["api"].split(".")[1]
        kind = target.removesuffix("-codex")
        label = f"recording-{streamed if stream else whole}-{uuid.uuid4().hex}"
        # A name that says nothing of its maker may be Claude's on Bedrock.
        label += {"openai-codex": "-codex", "bedrock": "-amazon.nova-lite-v1"}.get(target, "")
        answer = send(caller, f"{kind}/{label}", body, stream)
        if answer.status_code == 400:
            return self.refusal(answer, body, caller, target)
        self.assertEqual(answer.status_code, 200, answer.text[:600])
        (asked,) = seen(label)
        self.assertIsNone(asked["fault"])
        sent = json.loads(base64.b64decode(asked["body"]))
        said = specs.faults(target if target in specs.OPENAPI else form, sent)
        if (body.get("max_tokens"), form) == (0, "bedrock"):
            said = []  # It is the caller's, for the provider to refuse.
        self.assertEqual([], said, json.dumps(sent)[:1500])
        everything = "\n".join(strings(sent))
        # Without tools that may be called, and with one that must, the others are left out where that is all one can say.
        chosen = "tool_choice" in body or "toolChoice" in (body.get("toolConfig") or {})
        names = set(words_of_tools(caller, body)) if chosen else ()
        for word in words(caller, body):
            if word in names or (word or "")[:1] in ("{", "["):  # A result in JSON may go as what it is.
                continue
            if word and word.strip() not in everything:
                self.fail(f"{word!r:.200} is not in {json.dumps(sent):.1500}; {answer.headers.get('x-keymux-dropped')}")

    setattr(Requests, f"test {caller} to {target}: {entry['id']} ({entry['place']})", test)


for entry in recordings(None):
    if entry["api"] in CALLERS:
        if (recording_of(entry).get("request") or {}).get("body"):
            for target in TARGETS:
                add(entry, CALLERS[entry["api"]], target)

if __name__ == "__main__":
    main()
