"""Writes a service account of Google's, made for this run, to $RECORDED_ACCOUNT, and beside it the public half of its
key for tokens.py to check signatures with: account.py TOKEN_URI
"""

import json
import os
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
private = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
account = {
    "type": "service_account",
    "project_id": "recorded-project",
    "private_key_id": "1",
    "private_key": private.decode(),
    "client_email": "sdk@recorded-project.iam.gserviceaccount.com",
    "client_id": "1",
    "token_uri": sys.argv[1],
}
with open(os.environ["RECORDED_ACCOUNT"], "w") as file:
    json.dump(account, file)
with open(os.environ["RECORDED_ACCOUNT"] + ".public", "wb") as file:
    file.write(public)
