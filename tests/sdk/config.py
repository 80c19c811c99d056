"""Prints the configuration under test: config.py PORT ADMIN_PORT KIND...

A provider of each kind, called like it (`recorded` for OpenAI's, which also plays all that copied it), and one more for
each recorded refusal of that kind, called `refused-PLACE`: a refusal takes a key out of service for a while. For the one
kind `translated`: a provider of every kind, called like it, and for each recorded refusal one for each format of callers,
called `refused-PLACE-FORMAT`.
"""

import json
import os
import pathlib
import sys

RECORDED = os.environ["RECORDED_URL"]
SHARED = os.environ.get("KEYMUX_SHARED")

# What a kind is called in the index of recordings, where that is another name.
RECORDED_AS = {"gemini": "google"}

HEAD = """
[server]
listen = "127.0.0.1:{port}"
{tls}
[admin]
listen = "127.0.0.1:{admin}"

[[clients]]
name = "sdk"
key = {{ env_var = "SDK_CLIENT_KEY" }}

[routes.fast]
targets = [{{ model = "echo/echo" }}]

[providers.echo]
[[providers.echo.keys]]
name = "echo"
models = ["echo", "error-400", "error-429"]
"""

KEY = """
[providers.{name}]
kind = "{kind}"
base_url = "{base_url}"
[[providers.{name}.keys]]
name = "key"
value = {{ env_var = "RECORDED_KEY" }}
"""

AZURE = """
[providers.{name}]
kind = "azure"
[[providers.{name}.keys]]
name = "key"
value = {{ env_var = "RECORDED_KEY" }}
[providers.{name}.keys.azure_key_config]
endpoint = "{base_url}"
api_version = "{version}"
deployments = {{ gpt = "recording-49-gpt" }}
"""

ENTRA = """
[providers.{name}]
kind = "azure"
[[providers.{name}.keys]]
name = "application"
[providers.{name}.keys.azure_key_config]
scopes = ["{scope}"]
endpoint = "{base_url}"
api_version = "2024-10-21"
authority_host = "{base_url}"
tenant_id = "recorded-tenant"
client_id = "recorded-client"
client_secret = {{ env_var = "RECORDED_ENTRA_SECRET" }}
"""

VERTEX = """
[providers.{name}]
kind = "vertex"
base_url = "{base_url}"
[[providers.{name}.keys]]
name = "account"
[providers.{name}.keys.vertex_key_config]
project_id = "recorded-project"
region = "us-central1"
auth_credentials = {{ file = "{account}" }}
"""

BEDROCK = """
[providers.{name}]
kind = "bedrock"
base_url = "{base_url}"
[[providers.{name}.keys]]
name = "pair"
[providers.{name}.keys.bedrock_key_config]
region = "us-east-1"
access_key = {{ env_var = "RECORDED_AWS_ID" }}
secret_key = {{ env_var = "RECORDED_AWS_SECRET" }}
"""

SIGNER = """
[[clients]]
name = "signer"
aws = { access_key = { env_var = "SDK_AWS_ID" }, secret_key = { env_var = "SDK_AWS_SECRET" } }
"""

BEDROCK_OTHERS = """
[providers.bedrock-bearer]
kind = "bedrock"
base_url = "{base_url}"
[[providers.bedrock-bearer.keys]]
name = "api-key"
value = {{ env_var = "RECORDED_BEDROCK_KEY" }}
bedrock_key_config = {{ region = "us-east-1" }}
"""

FORMS = {"azure": AZURE, "vertex": VERTEX, "bedrock": BEDROCK}

KINDS = (
    "openai anthropic gemini vertex azure bedrock mistral deepseek xai zai cohere groq together replicate vllm ollama "
    "sglang openai-compatible"
).split()
CALLERS = ("chat", "responses", "anthropic", "gemini", "bedrock")

# Kinds whose address is the bare origin.
BARE = ("anthropic", "gemini", "vertex", "azure", "bedrock", "cohere", "replicate")


def provider(name, kind):
    fields = {
        "name": name,
        "kind": kind,
        "base_url": RECORDED + ("" if kind in BARE else "/v1"),
        "account": os.environ["RECORDED_ACCOUNT"],
        "version": "v1" if name == "azure-v1" else "2024-10-21",
    }
    return FORMS.get(kind, KEY).format(**fields)


def refusals(kind):
    if not SHARED:
        # One in any case: a name that nobody lists is nobody's only when two take all names.
        return [0]
    index = json.loads((pathlib.Path(SHARED) / "fixtures/index.json").read_text())
    of = RECORDED_AS.get(kind, kind)
    return [
        place
        for place, entry in enumerate(index)
        if (entry["status"] >= 400 or "error_in_stream" in entry["features"])
        and (entry["provider"] == of or kind == "openai" and entry["api"].startswith("openai."))
    ]


def translated():
    print(SIGNER)
    for kind in KINDS:
        print(provider(kind, kind))
    if not SHARED:
        return
    index = json.loads((pathlib.Path(SHARED) / "fixtures/index.json").read_text())
    for place, entry in enumerate(index):
        if entry["status"] >= 400 or "error_in_stream" in entry["features"]:
            for caller in CALLERS:
                print(provider(f"refused-{place}-{caller}", kind_of(entry, caller)))


def kind_of(entry, caller):
    """The kind that plays the provider of a recording, so that a caller of that format is answered in another."""
    if entry["api"] == "openai.responses":
        return "openai"
    provider, chats = entry["provider"], entry["api"].startswith("openai.")
    kind = "gemini" if provider == "google" else provider
    if kind not in KINDS or (chats and kind in ("gemini", "bedrock")):
        kind = "openai-compatible"
    if chats and caller == "responses" and kind != "mistral":
        kind = "zai"  # Most others have responses of their own.
    if caller == "chat" and kind == "vertex" and entry["api"].startswith("gemini."):
        kind = "gemini"  # Vertex has a chat of its own.
    return kind


def main(port, admin, *kinds):
    # boto3 shows a Bedrock API key on TLS only.
    certificate = os.environ["KEYMUX_CERTIFICATE"]
    tls = f'tls = {{ cert = "{certificate}", key = "{certificate}.key" }}' if "bedrock" in kinds else ""
    print(HEAD.format(port=port, admin=admin, tls=tls))
    if kinds == ("translated",):
        return translated()
    for kind in kinds:
        print(provider("recorded" if kind == "openai" else kind, kind))
        for place in refusals(kind):
            print(provider(f"refused-{place}", kind))
    if "azure" in kinds:
        print(provider("azure-v1", "azure"))
        for name, scope in (("azure-entra", "https://cognitiveservices.azure.com/.default"), ("azure-brief", "brief")):
            print(ENTRA.format(base_url=RECORDED, name=name, scope=scope))
    if "bedrock" in kinds:
        print(SIGNER)
        print(BEDROCK_OTHERS.format(base_url=RECORDED))


if __name__ == "__main__":
    main(*sys.argv[1:])
