"""Streams that recorded.py makes by itself, in the form of each API: an opening, words, an ending, which in
some says all of the text again."""

import base64
import json
import struct
import zlib


def form_of(path):
    """The form that a path is answered in."""
    if path.endswith("/converse-stream"):
        return Converse
    if path.endswith("/invoke-with-response-stream"):
        return Invoke
    if "streamGenerateContent" in path:
        return Gemini
    if "messages" in path or "streamRawPredict" in path:
        return Anthropic
    if path.startswith("/v2/chat"):
        return Cohere
    if path.endswith("/responses"):
        return Responses
    return OpenAi


class OpenAi:
    content_type = "text/event-stream"

    @staticmethod
    def opening():
        return b""

    @staticmethod
    def chunk(delta, reason):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "recorded"}
        return sse(chunk | {"choices": [choice]})

    @classmethod
    def word(cls, text):
        return cls.chunk({"role": "assistant", "content": text}, None)

    @classmethod
    def ending(cls, text=""):
        return cls.chunk({}, "stop") + b"data: [DONE]\n\n"


class Responses:
    content_type = "text/event-stream"
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "recorded"}
    item = {"id": "msg_1", "type": "message", "role": "assistant"}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

    @staticmethod
    def frame(event):
        return b"event: " + event["type"].encode() + b"\n" + sse(event)

    @classmethod
    def opening(cls):
        started = cls.response | {"status": "in_progress", "output": []}
        item = cls.item | {"status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        return (
            cls.frame({"type": "response.created", "sequence_number": 0, "response": started})
            + cls.frame({"type": "response.output_item.added", "output_index": 0, "item": item})
            + cls.frame({"type": "response.content_part.added", "part": part} | cls.place)
        )

    @classmethod
    def word(cls, text):
        return cls.frame({"type": "response.output_text.delta", "delta": text} | cls.place)

    @classmethod
    def ending(cls, text=""):
        part = {"type": "output_text", "text": text, "annotations": []}
        item = cls.item | {"status": "completed", "content": [part]}
        usage = {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}
        usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        completed = cls.response | {"status": "completed", "output": [item], "usage": usage}
        return (
            cls.frame({"type": "response.output_text.done", "text": text} | cls.place)
            + cls.frame({"type": "response.output_item.done", "output_index": 0, "item": item})
            + cls.frame({"type": "response.completed", "response": completed})
        )


class Anthropic:
    content_type = "text/event-stream"

    @staticmethod
    def frame(event):
        return b"event: " + event["type"].encode() + b"\n" + sse(event)

    @classmethod
    def opening(cls):
        return b"".join(map(cls.frame, cls.first_events()))

    @staticmethod
    def first_events():
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "recorded", "content": []}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
        yield {"type": "message_start", "message": message}
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}

    @staticmethod
    def last_events():
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 9}}
        yield {"type": "message_stop"}

    @classmethod
    def word(cls, text):
        delta = {"type": "text_delta", "text": text}
        return cls.frame({"type": "content_block_delta", "index": 0, "delta": delta})

    @classmethod
    def ending(cls, text=""):
        return b"".join(map(cls.frame, cls.last_events()))


class Gemini:
    content_type = "text/event-stream"

    @staticmethod
    def opening():
        return b""

    @staticmethod
    def word(text, reason=None):
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        return sse({"candidates": [candidate], "modelVersion": "recorded"})

    @classmethod
    def ending(cls, text=""):
        return cls.word("", "STOP")


class Cohere:
    content_type = "text/event-stream"

    @staticmethod
    def opening():
        return (
            b'event: message-start\n'
            b'data: {"id":"1","type":"message-start","delta":{"message":{"role":"assistant"}}}\n\n'
            b'event: content-start\ndata: {"type":"content-start","index":0,"delta":{"message":{"content":'
            b'{"type":"text","text":""}}}}\n\n'
        )

    @staticmethod
    def word(text):
        delta = {"message": {"content": {"text": text}}}
        return b"event: content-delta\n" + sse({"type": "content-delta", "index": 0, "delta": delta})

    @staticmethod
    def ending(text=""):
        return (
            b'event: content-end\ndata: {"type":"content-end","index":0}\n\n'
            b'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"COMPLETE"}}\n\n'
        )


class Converse:
    content_type = "application/vnd.amazon.eventstream"

    @staticmethod
    def opening():
        return message("messageStart", {"role": "assistant"})

    @staticmethod
    def word(text):
        return message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})

    @staticmethod
    def ending(text=""):
        usage = {"usage": {"inputTokens": 3, "outputTokens": 9, "totalTokens": 12}, "metrics": {"latencyMs": 1}}
        return (
            message("contentBlockStop", {"contentBlockIndex": 0})
            + message("messageStop", {"stopReason": "end_turn"})
            + message("metadata", usage)
        )


class Invoke(Anthropic):
    """Anthropic's events in Amazon's frames."""

    content_type = Converse.content_type

    @staticmethod
    def frame(event):
        return message("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})


def sse(event):
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def message(kind, payload):
    """One frame of application/vnd.amazon.eventstream."""
    names = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b""
    for name, value in names.items():
        headers += struct.pack(">B", len(name)) + name.encode()
        headers += struct.pack(">BH", 7, len(value)) + value.encode()
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    return prelude + headers + body + struct.pack(">I", zlib.crc32(prelude + headers + body))

