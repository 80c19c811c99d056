"""Where the events of a recorded stream end, and from where on it is whole."""

import json
import re
import struct


def boundaries(spoken, body):
    """The place behind each event, from 0 to the whole."""
    places = [0]
    if spoken == "bedrock":
        while places[-1] < len(body):
            places.append(places[-1] + struct.unpack(">I", body[places[-1] : places[-1] + 4])[0])
        return places
    return places + [match.end() for match in re.finditer(rb"\r?\n\r?\n", body)]


def is_whole(spoken, body, in_order):
    """Whether what came may pass for the whole answer: the last event did, or an end in order behind the stop, from
    those who have no last event or leave it out."""
    told = [json.loads(data) for data in re.findall(rb"^data: ?(\{.*\})\r?$", body, re.MULTILINE) if is_json(data)]
    match spoken:
        case "chat":
            stopped = any(choice.get("finish_reason") for event in told for choice in event.get("choices") or [])
            return b"data: [DONE]" in body or (stopped and in_order)
        case "responses":
            last = ("response.completed", "response.incomplete", "response.failed", "error")
            return any(event.get("type") in last for event in told)
        case "anthropic":
            return any(event.get("type") == "message_stop" for event in told)
        case "gemini":
            stopped = any(choice.get("finishReason") for event in told for choice in event.get("candidates") or [])
            blocked = any("promptFeedback" in event for event in told)
            return stopped or blocked  # There is no last event.
        case "bedrock":
            return b"metadata" in body or (b"messageStop" in body and in_order)
        case "cohere":
            return any(event.get("type") == "message-end" for event in told)


def is_json(data):
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
