"""A second turn in each caller's format: the answer as it came, and a result for each of its calls."""

import json

from views import SENTENCE

RESULT = "it is noon"
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}


def chat(client, model, tools):
    tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in tools]
    messages = [{"role": "user", "content": SENTENCE}]
    message = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message.to_dict()
    messages.append(message)
    for call in message["tool_calls"]:
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": RESULT})
    client.chat.completions.create(model=model, messages=messages, tools=tools)


def responses(client, model, tools):
    tools = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in tools]
    asked = {"model": model, "include": ["reasoning.encrypted_content"], "store": False, "tools": tools}
    given = [{"role": "user", "content": SENTENCE}]
    answer = client.responses.create(**asked, input=given)
    for item in answer.to_dict()["output"]:
        given.append(item)
    for item in answer.output:
        if item.type == "function_call":
            given.append({"type": "function_call_output", "call_id": item.call_id, "output": RESULT})
    client.responses.create(**asked, input=given)


def messages(client, model, tools):
    tools = [{"name": name, "input_schema": SCHEMA} for name in tools]
    asked = {"model": model, "max_tokens": 99, "tools": tools}
    said = [{"role": "user", "content": SENTENCE}]
    content = client.messages.create(**asked, messages=said).to_dict()["content"]
    said.append({"role": "assistant", "content": content})
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": RESULT}
        for block in content
        if block["type"] == "tool_use"
    ]
    client.messages.create(**asked, messages=[*said, {"role": "user", "content": results}])


def gemini(client, model, tools):
    tools = [{"function_declarations": [{"name": name, "parameters_json_schema": SCHEMA} for name in tools]}]
    config = {"tools": tools, "automatic_function_calling": {"disable": True}}
    contents = [{"role": "user", "parts": [{"text": SENTENCE}]}]
    answer = client.models.generate_content(model=model, contents=contents, config=config)
    content = answer.candidates[0].content
    results = [
        {"function_response": {"id": call.id, "name": call.name, "response": {"result": RESULT}}}
        for call in answer.function_calls
    ]
    contents = [*contents, content, {"role": "user", "parts": results}]
    client.models.generate_content(model=model, contents=contents, config=config)


def converse(client, model, tools):
    tools = [{"toolSpec": {"name": name, "inputSchema": {"json": SCHEMA}}} for name in tools]
    asked = {"modelId": model, "toolConfig": {"tools": tools}}
    said = [{"role": "user", "content": [{"text": SENTENCE}]}]
    message = client.converse(**asked, messages=said)["output"]["message"]
    results = [
        {"toolResult": {"toolUseId": block["toolUse"]["toolUseId"], "content": [{"text": RESULT}]}}
        for block in message["content"]
        if "toolUse" in block
    ]
    client.converse(**asked, messages=[*said, message, {"role": "user", "content": results}])


TURNS = {"chat": chat, "responses": responses, "anthropic": messages, "gemini": gemini, "bedrock": converse}


def leaves(value):
    """All text in a body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)


def seals(spoken, recording):
    """The signatures in an answer, which the provider wants back."""
    # Of calls, texts and thoughts; a server tool's block goes nowhere but to its own format.
    names = {"anthropic": "signature", "gemini": "thoughtSignature", "bedrock": "signature", "responses": "encrypted_content"}
    found = []

    def walk(value):
        if isinstance(value, dict):
            if "toolCall" in value or "toolResponse" in value:
                return
            if isinstance(seal := value.get(names.get(spoken)), str) and seal:
                found.append(seal)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(json.loads(recording["response"]["body"]))
    return found
