"""All providers in one: answers with recorded exchanges, and with a few streams of its own.

The model asked for, in the path or the body, says what to answer: the id of a recording below $KEYMUX_SHARED/fixtures,
its place in the index there as `recording-PLACE` with anything behind, or a name that begins with
(`recording-PLACE-ends-BYTES` answers so many bytes and ends in order, `recording-PLACE-breaks-BYTES` hangs up there)

    long-stream     2000 events at full speed
    short-stream    one word, `pineapple`
    slow-stream     an event every 20 ms, until the peer leaves
    slow-whole      nothing, until the peer leaves

Audio is answered by path. Bodies go out in small pieces. Whoever shows another credential than the provider's, or more
than that, gets a 418 that says so, with a token that holds no more a 401. GET /seen?model=M tells what came for a
model, as JSON, /tokens how often tokens were asked for; /tokens/revoke/TOKEN takes one back. Listens on a free port of
loopback and prints it.
"""

import base64
import email.parser
import json
import os
import pathlib
import re
import select
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import credentials
import streams
import tokens

FIXTURES = pathlib.Path(os.environ["KEYMUX_SHARED"]) / "fixtures" if os.environ.get("KEYMUX_SHARED") else None
INDEX = json.loads((FIXTURES / "index.json").read_text()) if FIXTURES else []

# Where a path names the model.
MODEL = re.compile(
    r"/model/([^/]+)/|/models/count-tokens(?=:)|/(?:models|tunedModels|endpoints)/([^/:]+):|/deployments/([^/]+)/"
    r"|/v1/(?:models|deployments)/[^/]+/([^/]+)/predictions"
)

# Headers that belong to a connection, or that the framing here replaces.
NOT_REPLAYED = {"transfer-encoding", "content-length", "connection", "server", "date"}

seen = []
seen_lock = threading.Lock()


def speech():
    """Bytes that are no text in any encoding."""
    return bytes(range(256)) * 400


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Recorded"

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/tokens":
            return self.answer(200, tokens.asked)
        if url.path.startswith("/tokens/revoke/"):
            return self.answer(200, tokens.revoke(url.path.split("/")[3]))
        if url.path.startswith("/v1/predictions/"):
            return self.kept(b"")
        if url.path != "/seen":
            return self.answer(404, {"error": {"message": f"no {url.path} here"}})
        model = urllib.parse.parse_qs(url.query)["model"][0]
        with seen_lock:
            self.answer(200, [entry for entry in seen if entry["model"] == model])

    def do_POST(self):
        body = self.read_body()
        if tokens.is_token_path(self.path):
            return self.answer(*tokens.answer(self.path, body))
        if self.path.startswith("/v1/predictions/"):
            return self.kept(body)
        self.answered(self.note(self.model(body), body), body)

    def kept(self, body):
        """A prediction that was made before: every id is one."""
        entry = self.note(self.path.split("/")[3], body)
        if entry["fault"]:
            return self.answer(418, {"detail": entry["fault"]})
        self.replay("replicate/replicate.predictions/unary-text-sdxl-481250")

    def note(self, model, body):
        entry = {
            "model": model,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": base64.b64encode(body).decode(),
            "fault": credentials.fault(self.path, self.headers.items(), body),
            "left": False,
        }
        with seen_lock:
            seen.append(entry)
        return entry

    def answered(self, entry, body):
        model = entry["model"]
        if entry["fault"] and tokens.held_once(entry["headers"].get("authorization")):
            self.answer(401, {"error": {"code": 401, "message": "token expired", "status": "UNAUTHENTICATED"}})
        elif entry["fault"]:
            self.answer(418, {"error": {"message": entry["fault"]}})
        elif self.path.endswith("/audio/speech"):
            self.whole(200, {"content-type": "audio/mpeg"}, speech())
        elif self.path.endswith("/audio/transcriptions"):
            self.answer(200, {"text": f"{len(self.fields(body)['file'])} bytes"})
        elif model.startswith("long-stream"):
            self.made_stream([f"word{number} " for number in range(2000)])
        elif model.startswith("short-stream"):
            self.made_stream(["pineapple"])
        elif model.startswith("slow-stream"):
            self.slow_stream(entry)
        elif model.startswith("slow-whole"):
            entry["left"] = self.peer_leaves_within(60)
            self.close_connection = True
        else:
            self.replay(model)

    def model(self, body):
        found = MODEL.search(self.path)
        named = found and next(filter(None, found.groups()), None)
        if named:
            return urllib.parse.unquote(named)
        fields = self.fields(body)
        return fields.get("model") or fields.get("version") or ""

    def read_body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def fields(self, body):
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            return json.loads(body)
        message = email.parser.BytesParser().parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
        fields = {}
        for part in message.get_payload():
            name = part.get_param("name", header="content-disposition")
            value = part.get_payload(decode=True)
            fields[name] = value if part.get_filename() else value.decode()
        return fields

    def replay(self, model):
        numbered = re.match(r"(?:arn:.*/)?recording-(\d+)", model)
        name = INDEX[int(numbered[1])]["id"] if numbered else model
        path = FIXTURES / f"{name}.json" if FIXTURES else None
        if path is None or not path.is_file():
            return self.answer(404, {"error": {"message": f"no recording {model}", "code": "no_recording"}})
        recording = json.loads(path.read_text())
        response = recording["response"]
        body = base64.b64decode(response["body_b64"]) if "body_b64" in response else response["body"].encode()
        headers = {name: value for name, value in response["headers"].items() if name not in NOT_REPLAYED}
        if cut := re.match(r"recording-\d+-(ends|breaks)-(\d+)", model):
            self.cut(headers, body[: int(cut[2])], cut[1] == "breaks")
        elif recording["stream"] and response["status"] == 200:
            self.stream(headers, body)
        else:
            self.whole(response["status"], headers, body)

    def answer(self, status, value):
        self.whole(status, {"content-type": "application/json"}, json.dumps(value).encode())

    def whole(self, status, headers, body):
        self.head(status, headers | {"content-length": str(len(body))})
        for piece in pieces(body):
            self.wfile.write(piece)

    def stream(self, headers, body):
        self.head(200, {"content-type": "text/event-stream"} | headers | {"transfer-encoding": "chunked"})
        for piece in pieces(body):
            self.chunk(piece)
        self.wfile.write(b"0\r\n\r\n")

    def cut(self, headers, body, breaks):
        self.head(200, {"content-type": "text/event-stream"} | headers | {"transfer-encoding": "chunked"})
        if body:
            self.chunk(body)
        if breaks:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def made_stream(self, words):
        form = streams.form_of(self.path)
        body = form.opening() + b"".join(map(form.word, words)) + form.ending("".join(words))
        self.stream({"content-type": form.content_type}, body)

    def slow_stream(self, entry):
        form = streams.form_of(self.path)
        self.head(200, {"content-type": form.content_type, "transfer-encoding": "chunked"})
        if opening := form.opening():
            self.chunk(opening)
        for number in range(3000):
            try:
                self.chunk(form.word(f"word{number} "))
            except OSError:
                entry["left"] = True
            if entry["left"] or self.peer_leaves_within(0.02):
                entry["left"] = True
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def peer_leaves_within(self, seconds):
        readable, _, _ = select.select([self.connection], [], [], seconds)
        if not readable:
            return False
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def pieces(body):
    """Cuts in odd places, at most some hundred times, with a pause now and then so that they arrive apart."""
    size = max(23, len(body) // 300)
    for number, start in enumerate(range(0, len(body), size)):
        if number % 16 == 1:
            time.sleep(0.001)
        yield body[start : start + size]


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def get_request(self):
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def handle_error(self, request, client_address):
        pass  # A peer that leaves in the middle is what some tests are about.


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
