"""What a provider must be shown, and what must never reach it. All values come from the environment, see run.sh."""

import datetime
import json
import os
import re

import tokens

KEY = os.environ["RECORDED_KEY"]
AWS_ID, AWS_SECRET = os.environ["RECORDED_AWS_ID"], os.environ["RECORDED_AWS_SECRET"]
BEDROCK_KEY = os.environ["RECORDED_BEDROCK_KEY"]
CALLERS = [os.environ[name] for name in ("SDK_CLIENT_KEY", "SDK_AWS_ID", "SDK_AWS_SECRET")]

# Every header and query member by which some provider or proxy is shown a credential.
HEADERS = {
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-goog-user-project",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "proxy-authorization",
    "cookie",
}
QUERY = re.compile(r"[?&](key|api[-_]?key|access_token|x-amz-[^=]*)=", re.IGNORECASE)


def provider_of(path):
    """Whose path it is."""
    shapes = {
        "anthropic": r"/v1/messages",
        "gemini": r"/(v1|v1beta|v1alpha)/(models|tunedModels)/[^/]*:",
        "vertex": r"/(v1|v1beta1)/(projects|publishers)/",
        "azure": r"/(openai|anthropic)/",
        "bedrock": r"/model/",
        "cohere": r"/v2/",
        "replicate": r"/v1/(predictions|(models|deployments)/[^/]+/[^/]+/predictions)",
        "openai": r"/v1/",
    }
    return next((name for name, shape in shapes.items() if re.match(shape, path)), None)


def fault(path, headers, body):
    """What is wrong with the credentials of a request; `headers` are pairs as they came."""
    names = [name.lower() for name, _ in headers]
    shown = {name.lower(): value for name, value in headers}
    everything = path + json.dumps(headers) + body.decode("latin-1")
    if any(secret in everything for secret in CALLERS):
        return "the caller's own credential came along"
    if QUERY.search(path):
        return "a credential came in the query"
    held = {name for name in names if name in HEADERS}
    if any(names.count(name) > 1 for name in held):
        return f"a credential came twice: {sorted(held)}"
    provider = provider_of(path)
    if provider == "bedrock" and not shown.get("authorization", "").startswith("Bearer "):
        return fault_of_signature(path, shown, body)
    if provider == "azure" and "authorization" in held:
        # Its newer surface takes a key like that too.
        keys = [f"Bearer {KEY}"] if path.startswith("/openai/v1/") else []
        return only(held, shown, "authorization", tokens.valid("entra") + keys)
    if provider == "anthropic" and "authorization" in held:
        # Its newer SDKs show a key like that.
        return only(held, shown, "authorization", [f"Bearer {KEY}"])
    if provider == "vertex":
        return only(held - {"x-goog-user-project"}, shown, "authorization", tokens.valid("google"))
    name, values = {
        "anthropic": ("x-api-key", [KEY]),
        "gemini": ("x-goog-api-key", [KEY]),
        "azure": ("api-key", [KEY]),
        "bedrock": ("authorization", [f"Bearer {BEDROCK_KEY}"]),
    }.get(provider, ("authorization", [f"Bearer {KEY}"]))
    return only(held, shown, name, values)


def only(held, shown, name, values):
    if held != {name}:
        return f"credentials came in {sorted(held)} and not in {name} alone"
    return None if shown[name] in values else f"{name} is not the provider's"


def fault_of_signature(path, shown, body):
    """Signature Version 4, computed anew by botocore from what came."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    scope = r"([^/]+)/(\d{8}/([^/]+)/bedrock/aws4_request)"
    form = rf"AWS4-HMAC-SHA256 Credential={scope}, ?SignedHeaders=([^,]+), ?Signature=(\w+)"
    found = re.fullmatch(form, shown.get("authorization", ""))
    if not found:
        return "authorization is no signature for bedrock"
    access, scope, region, signed, signature = found.groups()
    if access != AWS_ID:
        return "the access key is not the provider's"
    signed, stamp = signed.split(";"), shown.get("x-amz-date", "")
    if not {"host", "x-amz-date"} <= set(signed):
        return f"only {signed} are signed"
    signed_at = datetime.datetime.strptime(stamp + "+0000", "%Y%m%dT%H%M%SZ%z")
    age = datetime.datetime.now(datetime.timezone.utc) - signed_at
    if abs(age) > datetime.timedelta(minutes=5) or not scope.startswith(stamp[:8]):
        return f"the signature is of {stamp}"
    request = AWSRequest("POST", f"http://{shown['host']}{path}", {name: shown[name] for name in signed}, body)
    request.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(AWS_ID, AWS_SECRET), "bedrock", region)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return None if signature == expected else "the signature is wrong"
