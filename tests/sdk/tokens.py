"""Token servers of Google and of Entra ID, for recorded.py to answer with.

    POST /google/token                       a service account's signed assertion for a token
    POST /{tenant}/oauth2/v2.0/token         an application's secret for a token

Each fails once before it gives its first token, as such servers do. Tokens hold an hour; those whose scope says `brief`
hold a few seconds.
"""

import json
import os
import threading
import time
import urllib.parse

LIFE, BRIEF = 3600, 4

given = {"google": [], "entra": []}
asked = {"google": 0, "entra": 0}
lock = threading.Lock()


def is_token_path(path):
    return path == "/google/token" or path.endswith("/oauth2/v2.0/token")


def valid(issuer):
    """The headers that hold now."""
    now = time.time()
    with lock:
        return [f"Bearer {token}" for token, until in given[issuer] if now < until]


def held_once(header):
    """Whether it is a token that holds no more."""
    with lock:
        return any(header == f"Bearer {token}" for issued in given.values() for token, _ in issued)


def revoke(taken):
    """Takes a token back before its time."""
    with lock:
        for issuer, issued in given.items():
            given[issuer] = [(token, 0 if token == taken else until) for token, until in issued]


def answer(path, body):
    """Status and answer to a request for a token."""
    issuer = "google" if path == "/google/token" else "entra"
    form = dict(urllib.parse.parse_qsl(body.decode()))
    refusal = refuse_google(form) if issuer == "google" else refuse_entra(path, form)
    if refusal:
        return 400, {"error": "invalid_grant", "error_description": refusal}
    with lock:
        asked[issuer] += 1
        if asked[issuer] == 1:
            return 503, {"error": "temporarily_unavailable"}
        life = BRIEF if "brief" in form.get("scope", "") else LIFE
        token = f"{issuer}-token-{len(given[issuer])}-{os.urandom(6).hex()}"
        given[issuer].append((token, time.time() + life))
    return 200, {"access_token": token, "expires_in": life, "token_type": "Bearer"}


def refuse_google(form):
    from google.auth import jwt

    account = json.loads(open(os.environ["RECORDED_ACCOUNT"]).read())
    if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
        return "grant_type"
    try:
        public = open(os.environ["RECORDED_ACCOUNT"] + ".public").read()
        # Google's own library names Google's server, wherever it sends the assertion to.
        audiences = [account["token_uri"], "https://oauth2.googleapis.com/token"]
        claims = jwt.decode(form["assertion"], certs=public, audience=audiences)
    except ValueError as error:
        return f"assertion: {error}"
    if claims["iss"] != account["client_email"]:
        return "iss"
    return None if "https://www.googleapis.com/auth/cloud-platform" in claims["scope"].split() else "scope"


def refuse_entra(path, form):
    expected = {
        "grant_type": "client_credentials",
        "client_id": "recorded-client",
        "client_secret": os.environ["RECORDED_ENTRA_SECRET"],
        "scope": form.get("scope") or "one",
    }
    wrong = [name for name, value in expected.items() if form.get(name) != value]
    if path.split("/")[1] != "recorded-tenant":
        wrong.append("tenant")
    return ", ".join(wrong) or None
