"""A server on this machine that speaks HTTP as the hubs of weights and data do: redirects, ranges,
ETags, failures.
"""

import contextlib
import http.server
import re
import threading
import time
from collections import deque


class Hub(http.server.ThreadingHTTPServer):
    """Serves `content` at /file, and sends `url` there as a hub does.

    `faults` holds one fault for each coming answer: ("cut", n) breaks off after n bytes, ("status",
    code) refuses. `pause` is how many seconds pass in the middle of an answer.
    """

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = content
        self.etag = '"first"'
        self.ranges = True
        self.lengths = True
        self.faults = deque()
        self.asked = []
        self.pause = 0.0

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def url(self):
        return f"{self.address}/owner/name/resolve/commit/file"

    def handle_error(self, request, client_address):
        pass


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hub = self.server
        if "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"{hub.address}/file")
            self.send_header("X-Linked-Etag", '"of the hub"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        hub.asked.append(self.headers.get("Range"))
        fault, value = hub.faults.popleft() if hub.faults else (None, None)
        if fault == "status":
            self.send_error(value)
            return
        self.send(hub, self.start(hub), value if fault == "cut" else None)

    def start(self, hub):
        """Returns where the client may go on, or None when it gets the whole file."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        same = self.headers.get("If-Range", hub.etag) == hub.etag
        return int(asked.group(1)) if asked and hub.ranges and same else None

    def send(self, hub, start, cut):
        if start is not None and start >= len(hub.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(hub.content)}")
            self.end_headers()
            return
        body = hub.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if hub.etag:
            self.send_header("ETag", hub.etag)
        if hub.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body[:cut]) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        time.sleep(hub.pause)
        self.wfile.write(body[half:cut])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(content):
    """Runs a `Hub` of this content for the length of the block."""
    with Hub(content) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
