"""What a program sees of an answer, whatever the API: one form, a reader for each official SDK.

`read(client, model, stream)` of each API asks for an answer and gives a `View`. Tokens are counted in one accounting:
`input` with what came from the cache or went to it, `output` with reasoning; `None` is what the answer does not say.
"""

import dataclasses
import json
import os
import pathlib
import re

from google.genai import errors, types

FIXTURES = pathlib.Path(os.environ.get("KEYMUX_SHARED", "")) / "fixtures"
SENTENCE = "one two three"


# What keymux writes must agree with itself; what a provider writes is as it is.
strict = False


class ToldError(Exception):
    """An error event that the SDK hands over as it does any other event."""


@dataclasses.dataclass
class View:
    text: str = ""
    thoughts: str = ""
    refusal: str = ""
    calls: list = dataclasses.field(default_factory=list)  # [id, name, arguments as JSON text]
    end: str = None
    usage: dict = dataclasses.field(default_factory=dict)
    events: int = 0

    def called(self):
        """Names and arguments, with the arguments read."""
        return [(name, arguments_of(text)) for _, name, text in self.calls]

    def ids(self):
        return [id for id, _, _ in self.calls]

    def call(self, id, name):
        self.calls.append([id, name, ""])
        return self.calls[-1]


def arguments_of(text):
    try:
        return json.loads(text or "{}")
    except ValueError:
        return f"not JSON: {text}"


def counted(**tokens):
    return {name: count for name, count in tokens.items() if count is not None}


def total(*parts):
    """The sum; absent when the first is."""
    return None if parts[0] is None else sum(part or 0 for part in parts)


class Chat:
    ENDS = {"stop": "end", "eos": "end", "length": "length", "tool_calls": "calls", "function_call": "calls", "content_filter": "filter"}

    def read(client, model, stream, view):
        asked = {"model": model, "messages": [{"role": "user", "content": SENTENCE}]}
        if not stream:
            answer = client.chat.completions.create(**asked).to_dict()
            if "error" in answer:  # Azure's content filter says 200 nonetheless.
                raise ToldError(json.dumps(answer["error"]))
            view.usage = Chat.usage(answer.get("usage"))
            Chat.choice(view, {}, answer["choices"][0], "message")
            return
        calls = {}
        for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            chunk = chunk.to_dict()
            view.events += 1
            view.usage |= Chat.usage(chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage"))
            for choice in chunk.get("choices") or []:
                if choice.get("index", 0) == 0:
                    Chat.choice(view, calls, choice, "delta")

    def choice(view, calls, choice, member):
        said = choice.get(member) or {}
        content = said.get("content") or ""
        if isinstance(content, list):  # Mistral's, when it thinks.
            for part in content:
                if part.get("type") == "text":
                    view.text += part["text"]
                elif part.get("type") == "thinking":
                    view.thoughts += "".join(piece.get("text", "") for piece in part["thinking"])
        else:
            view.text += content
        view.thoughts += said.get("reasoning_content") or said.get("reasoning") or ""
        view.refusal += said.get("refusal") or ""
        for place, call in enumerate(said.get("tool_calls") or []):
            at = place if member == "message" else call.get("index") or 0
            function = call.get("function") or {}
            known = calls.get(at)
            # Some tell all calls at one index, apart by their ids.
            if known is None or (call.get("id") and function.get("name") and call["id"] != known[0]):
                known = calls[at] = view.call(call.get("id"), function.get("name"))
            known[2] += function.get("arguments") or ""
        if choice.get("finish_reason"):
            view.end = Chat.ENDS.get(choice["finish_reason"], choice["finish_reason"])

    def usage(usage):
        if not usage:
            return {}
        reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        output = usage.get("completion_tokens")
        if reasoning and usage.get("total_tokens") == usage.get("prompt_tokens", 0) + output + reasoning:
            output += reasoning  # xAI counts it apart.
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        cached = cached or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens")
        return counted(input=usage.get("prompt_tokens"), cached=cached, output=output, reasoning=reasoning)


class Responses:
    def read(client, model, stream, view):
        asked = {"model": model, "input": SENTENCE}
        if not stream:
            return Responses.whole(view, client.responses.create(**asked).to_dict())
        last, told = None, View()
        for event in client.responses.create(**asked, stream=True):
            event = event.to_dict()
            view.events += 1
            kind = event.get("type")
            if kind in ("error", "response.failed"):
                raise ToldError(json.dumps(event))
            if kind == "response.output_text.delta":
                view.text = told.text = told.text + event["delta"]
            elif kind == "response.refusal.delta":
                told.refusal += event["delta"]
            elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
                told.thoughts += event["delta"]
            elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
                call = told.call(event["item"]["call_id"], event["item"]["name"])
                call.append(event["output_index"])
            elif kind == "response.function_call_arguments.delta":
                for call in told.calls:
                    if call[3] == event["output_index"]:
                        call[2] += event["delta"]
            elif kind in ("response.completed", "response.incomplete"):
                last = event["response"]
        if last is None:
            raise ToldError("the stream has no last event")
        view.text = ""
        Responses.whole(view, last)
        told.calls = [call[:3] for call in told.calls]
        for name in ("text", "refusal", "calls"):
            if strict and getattr(told, name) != getattr(view, name):
                raise AssertionError(f"{name}: the deltas say {getattr(told, name)!r}, the last event {getattr(view, name)!r}")

    def whole(view, answer):
        for item in answer["output"]:
            if item["type"] == "message":
                for part in item["content"]:
                    view.text += part.get("text", "")
                    view.refusal += part.get("refusal", "")
            elif item["type"] == "function_call":
                view.call(item["call_id"], item["name"])[2] = item["arguments"]
            elif item["type"] == "reasoning":
                for part in (item.get("summary") or []) + (item.get("content") or []):
                    view.thoughts += part["text"]
        why = (answer.get("incomplete_details") or {}).get("reason")
        ends = {"max_output_tokens": "length", "content_filter": "filter"}
        if answer["status"] == "failed":
            raise ToldError(json.dumps(answer["error"]))
        view.end = ends.get(why, why) or (answer["status"] == "completed" and ("calls" if view.calls else "end")) or answer["status"]
        usage = answer.get("usage") or {}
        view.usage = counted(
            input=usage.get("input_tokens"),
            cached=(usage.get("input_tokens_details") or {}).get("cached_tokens"),
            output=usage.get("output_tokens"),
            reasoning=(usage.get("output_tokens_details") or {}).get("reasoning_tokens"),
        )


class Messages:
    ENDS = {
        "end_turn": "end",
        "max_tokens": "length",
        "stop_sequence": "sequence",
        "tool_use": "calls",
        "pause_turn": "pause",
        "model_context_window_exceeded": "length",
    }

    def read(client, model, stream, view):
        asked = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": SENTENCE}]}
        if not stream:
            return Messages.whole(view, client.messages.create(**asked).to_dict())
        text, last = "", None
        with client.messages.stream(**asked) as events:
            for event in events:
                view.events += 1
                if event.type == "text":
                    text = view.text = text + event.text
                last = event.type
            if last != "message_stop":
                raise ToldError("the stream has no last event")
            answer = events.get_final_message().to_dict()
        view.text = ""
        Messages.whole(view, answer)
        if text != view.text:
            raise AssertionError(f"text: the deltas say {text!r}, the whole {view.text!r}")

    def whole(view, answer):
        for block in answer["content"]:
            if block["type"] == "text":
                view.text += block["text"]
            elif block["type"] == "thinking":
                view.thoughts += block["thinking"]
            elif block["type"] == "tool_use":
                view.call(block["id"], block["name"])[2] = json.dumps(block["input"])
        reason = answer.get("stop_reason")
        view.end = Messages.ENDS.get(reason, reason)
        usage = answer.get("usage") or {}
        read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
        view.usage = counted(
            input=total(usage.get("input_tokens"), read, written),
            cached=read,
            output=usage.get("output_tokens"),
            reasoning=(usage.get("output_tokens_details") or {}).get("thinking_tokens"),
        )


class Gemini:
    ENDS = {"STOP": "end", "MAX_TOKENS": "length"} | dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"), "filter"
    )

    def read(client, model, stream, view):
        asked = {"model": model, "contents": SENTENCE}
        if not stream:
            return Gemini.part_of(view, client.models.generate_content(**asked))
        for chunk in Gemini.chunks(client, asked):
            view.events += 1
            Gemini.part_of(view, chunk)
        if view.end is None:
            raise ToldError("the stream has no finish reason")

    def chunks(client, asked):
        try:
            yield from client.models.generate_content_stream(**asked)
        except errors.UnknownApiResponseError:
            # An array, which this SDK does not read as a stream; recordings have it so where nothing else was asked for.
            if strict:
                raise
            entry = json.loads((FIXTURES / "index.json").read_text())[int(asked["model"].split("-")[1])]
            recorded = json.loads((FIXTURES / f"{entry['id']}.json").read_text())
            for chunk in json.loads(recorded["response"]["body"]):
                chunk.get("usageMetadata", {}).pop("serviceTier", None)  # Newer than the SDK.
                yield types.GenerateContentResponse.model_validate(chunk)

    def part_of(view, answer):
        answer = json.loads(answer.model_dump_json(exclude_none=True, exclude={"sdk_http_response"}))
        feedback = answer.get("prompt_feedback") or {}
        if feedback.get("block_reason"):
            view.end = "filter"
        for candidate in answer.get("candidates") or []:
            if candidate.get("index"):
                continue
            for part in (candidate.get("content") or {}).get("parts") or []:
                if part.get("thought"):
                    view.thoughts += part.get("text") or ""
                elif "function_call" in part:
                    Gemini.call(view, part["function_call"])
                else:
                    view.text += part.get("text") or ""
            if candidate.get("finish_reason"):
                view.end = Gemini.ENDS.get(candidate["finish_reason"], candidate["finish_reason"])
        if view.end == "end" and view.calls:
            view.end = "calls"
        if usage := answer.get("usage_metadata"):
            thoughts = usage.get("thoughts_token_count")
            output = None
            if "candidates_token_count" in usage or thoughts:
                output = (usage.get("candidates_token_count") or 0) + (thoughts or 0)
            view.usage |= counted(
                input=total(usage.get("prompt_token_count"), usage.get("tool_use_prompt_token_count")),
                cached=usage.get("cached_content_token_count"),
                output=output,
                reasoning=thoughts,
            )

    def call(view, call):
        pieces = call.get("partial_args")
        if pieces is None and call.get("name"):
            view.call(call.get("id"), call["name"])[2] = json.dumps(call.get("args") or {})
            return
        # Vertex tells a call in pieces; the later ones have no name, and the last one says so by saying nothing.
        if call.get("name"):
            view.call(call.get("id"), call["name"])[2] = "{}"
        arguments = json.loads(view.calls[-1][2])
        for piece in pieces or []:
            put(arguments, re.findall(r"[^.\[\]$]+", piece["json_path"]), piece)
        view.calls[-1][2] = json.dumps(arguments)


def put(within, path, piece):
    """Adds a piece of an argument at its place: text behind text."""
    *way, last = [int(step) if step.isdigit() else step for step in path]
    for step, after in zip(way, [*way[1:], last]):
        empty = [] if isinstance(after, int) else {}
        if isinstance(within, list):
            within.extend([empty] * (step + 1 - len(within)))
            within = within[step]
        else:
            within = within.setdefault(step, empty)
    for kind in ("string_value", "number_value", "bool_value"):
        if kind in piece:
            known = ""
            if isinstance(within, list):
                within.extend([""] * (last + 1 - len(within)))
            if kind == "string_value":
                known = within[last] if isinstance(within, list) else within.get(last, "")
            within[last] = known + piece[kind] if kind == "string_value" else piece[kind]


class Converse:
    ENDS = {
        "end_turn": "end",
        "max_tokens": "length",
        "stop_sequence": "sequence",
        "tool_use": "calls",
        "content_filtered": "filter",
        "guardrail_intervened": "filter",
        "model_context_window_exceeded": "length",
    }

    def read(client, model, stream, view):
        asked = {"modelId": model, "messages": [{"role": "user", "content": [{"text": SENTENCE}]}]}
        if not stream:
            answer = client.converse(**asked)
            for block in answer["output"]["message"]["content"]:
                if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use":
                    use = block["toolUse"]
                    view.call(use["toolUseId"], use["name"])[2] = json.dumps(use["input"])
                else:
                    Converse.delta(view, block)
            reason = answer["stopReason"]
            view.end = Converse.ENDS.get(reason, reason)
            view.usage = Converse.usage(answer.get("usage"))
            return
        open_calls, ended = {}, False
        for event in client.converse_stream(**asked)["stream"]:
            view.events += 1
            ((kind, told),) = event.items()
            if kind == "contentBlockStart" and "toolUse" in told.get("start", {}):
                use = told["start"]["toolUse"]
                server = use.get("type") == "server_tool_use"
                call = ["", "", ""] if server else view.call(use["toolUseId"], use["name"])
                open_calls[told["contentBlockIndex"]] = call
            elif kind == "contentBlockDelta":
                if "toolUse" in told["delta"]:
                    open_calls[told["contentBlockIndex"]][2] += told["delta"]["toolUse"]["input"]
                else:
                    Converse.delta(view, told["delta"])
            elif kind == "messageStop":
                view.end = Converse.ENDS.get(told["stopReason"], told["stopReason"])
            elif kind == "metadata":
                ended = True
                view.usage = Converse.usage(told.get("usage"))
        if not ended or view.end is None:
            raise ToldError("the stream has no last event")

    def delta(view, delta):
        view.text += delta.get("text", "")
        if cited := delta.get("citationsContent"):
            view.text += "".join(piece.get("text", "") for piece in cited.get("content") or [])
        thought = delta.get("reasoningContent") or {}
        view.thoughts += thought.get("text") or (thought.get("reasoningText") or {}).get("text") or ""

    def usage(usage):
        if not usage:
            return {}
        read, written = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
        return counted(
            input=total(usage.get("inputTokens"), read, written), cached=read, output=usage.get("outputTokens")
        )


class Cohere:
    """A provider's format only."""

    ENDS = {"COMPLETE": "end", "MAX_TOKENS": "length", "STOP_SEQUENCE": "sequence", "TOOL_CALL": "calls"}

    def read(client, model, stream, view):
        asked = {"model": model, "messages": [{"role": "user", "content": SENTENCE}]}
        asked["request_options"] = {"max_retries": 0}
        if not stream:
            answer = client.chat(**asked).dict()
            message = answer["message"]
            view.thoughts = message.get("tool_plan") or ""
            for part in message.get("content") or []:
                view.text += part.get("text") or ""
                view.thoughts += part.get("thinking") or ""
            for call in message.get("tool_calls") or []:
                view.call(call["id"], call["function"]["name"])[2] = call["function"]["arguments"] or ""
            view.end = Cohere.ENDS.get(answer["finish_reason"], answer["finish_reason"])
            view.usage = Cohere.usage(answer.get("usage"))
            return
        for event in client.chat_stream(**asked):
            event = event.dict()
            view.events += 1
            told = event.get("delta") or {}
            message = told.get("message") or {}
            if event["type"] in ("content-start", "content-delta"):
                content = message.get("content") or {}
                view.text += content.get("text") or ""
                view.thoughts += content.get("thinking") or ""
            elif event["type"] == "tool-plan-delta":
                view.thoughts += message["tool_plan"]
            elif event["type"] == "tool-call-start":
                call = message["tool_calls"]
                view.call(call["id"], call["function"]["name"])[2] = call["function"].get("arguments") or ""
            elif event["type"] == "tool-call-delta":
                view.calls[-1][2] += message["tool_calls"]["function"]["arguments"]
            elif event["type"] == "message-end":
                view.end = Cohere.ENDS.get(told["finish_reason"], told["finish_reason"])
                view.usage = Cohere.usage(told.get("usage"))
        if view.end is None:
            raise ToldError("the stream has no last event")

    def usage(usage):
        tokens = (usage or {}).get("tokens") or {}
        whole = lambda count: None if count is None else int(count)  # noqa: E731
        return counted(
            input=whole(tokens.get("input_tokens")),
            cached=whole((usage or {}).get("cached_tokens")),
            output=whole(tokens.get("output_tokens")),
            reasoning=whole(tokens.get("reasoning_tokens")),
        )
