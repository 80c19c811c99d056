"""Whether a request's body is one by the provider's own specification, those below $KEYMUX_SHARED/specs."""

import functools
import gzip
import json
import os
import pathlib

import jsonschema
import yaml
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

SPECS = pathlib.Path(os.environ.get("KEYMUX_SHARED", "")) / "specs"

# By format or kind of the provider: file and name of the schema.
OPENAPI = {
    "chat": ("openai/openapi.json.gz", "CreateChatCompletionRequest"),
    "responses": ("openai/openapi.json.gz", "CreateResponse"),
    "anthropic": ("anthropic/openapi.json.gz", "BetaCreateMessageParams"),
    "mistral": ("mistral/openapi.yaml.gz", "ChatCompletionRequest"),
    "together": ("together/openapi.yaml.gz", "ChatCompletionRequest"),
}


def faults(form, body):
    """What the specification does not allow; nothing where there is none."""
    if form == "bedrock":
        return converse_faults(body)
    if form not in OPENAPI and form != "gemini":
        return []
    found = []
    for error in sorted(validator(form).iter_errors(body), key=lambda error: list(error.path)):
        error = innermost(error)
        found.append(f"/{'/'.join(map(str, error.absolute_path))}: {error.message:.300}")
    return found


def innermost(error):
    """Of alternatives that all fail, the one that came furthest."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), not is_of_kind(inner)))
    return error


def is_of_kind(error):
    """Whether the alternative is another kind of thing altogether."""
    return error.validator in ("const", "enum", "type")


@functools.cache
def validator(form):
    document = discovered() if form == "gemini" else read(OPENAPI[form][0])
    name = "GenerateContentRequest" if form == "gemini" else OPENAPI[form][1]
    if form != "gemini":
        nullable(document)
    if form == "responses":
        # What is not stored has no id there; OpenAI's own command-line client leaves it out.
        document["components"]["schemas"]["ReasoningItem"]["required"].remove("id")
    if form == "together":
        # Of answers, and asked for in requests by mistake: its own examples have neither.
        document["components"]["schemas"]["ToolChoice"].pop("required")
        for schema in document["components"]["schemas"]["ToolChoice"]["properties"].values():
            schema.pop("required", None)
    root = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(root)


def read(name):
    path = SPECS / name
    data = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    return json.loads(data) if ".json" in name else yaml.load(data, Loader=yaml.CSafeLoader)


def nullable(node):
    """OpenAPI 3.0's `nullable`, which JSON Schema does not know, and its other words for the same."""
    if isinstance(node, list):
        for inner in node:
            nullable(inner)
    elif isinstance(node, dict):
        for inner in node.values():
            nullable(inner)
        if node.get("nullable") is True and isinstance(node.get("type"), str):
            node["type"] = [node["type"], "null"]
        # Alternatives that overlap are written as if they did not.
        if isinstance(node.get("oneOf"), list):
            node["anyOf"] = node.pop("oneOf") + node.get("anyOf", [])


def discovered():
    """Google's discovery document as JSON Schema, in which no other members are allowed."""
    document = json.loads((SPECS / "google/generativelanguage-discovery.json").read_text())
    schemas = {name: of_discovery(schema) for name, schema in document["schemas"].items()}
    return {"components": {"schemas": schemas}}


def of_discovery(schema):
    if "$ref" in schema:
        return {"$ref": f"#/components/schemas/{schema['$ref']}"}
    match schema.get("type"):
        case "object" if "properties" in schema:
            members = {name: of_discovery(member) for name, member in schema["properties"].items()}
            return {"type": "object", "properties": members, "additionalProperties": False}
        case "object":
            return {"type": "object"}
        case "array":
            return {"type": "array", "items": of_discovery(schema["items"])}
        case "string" if "enum" in schema:
            return {"enum": schema["enum"]}
        case "string" if schema.get("format") in ("int64", "google-duration"):
            return {"type": ["string", "integer"]}
        case "any":
            return {}
        case kind:
            return {"type": kind}


@functools.cache
def converse():
    model = json.loads((SPECS / "aws/bedrock-runtime-service-2.json").read_text())
    return ServiceModel(model).operation_model("Converse").input_shape


def converse_faults(body):
    report = ParamValidator().validate({"modelId": "m"} | body, converse())
    return [report.generate_report()] if report.has_errors() else []
