"""Writes a service account of Google's, made for this run, to $RECORDED_ACCOUNT, and beside it the public half of its
key for tokens.py to check signatures with: account.py TOKEN_URI. With the same key: keymux's own certificate, to
$KEYMUX_CERTIFICATE and beside it `.key`.
"""

import datetime
import ipaddress
import json
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
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

name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keymux")])
address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
certificate = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
certificate = certificate.add_extension(address, critical=False).sign(key, hashes.SHA256())
with open(os.environ["KEYMUX_CERTIFICATE"], "wb") as file:
    file.write(certificate.public_bytes(serialization.Encoding.PEM))
with open(os.environ["KEYMUX_CERTIFICATE"] + ".key", "w") as file:
    file.write(account["private_key"])
