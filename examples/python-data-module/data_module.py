#!/usr/bin/env python3
"""A data module in Python: blobs in a folder, served by the protocol of docs/modules.md, section "Data".

It shows that storage is replaceable: cloudserver needs nothing but these five requests. Only the standard library is
used. What it answers with 201 survives a power cut; a body that breaks off leaves nothing; memory does not depend on
the size of a body.

    python3 data_module.py --folder /srv/blobs --port 9991
    DATA_HOST=localhost cloudserver
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import secrets
import socketserver
import sys

SERVICE = "/DataFile"
PIECE = 256 * 1024  # bytes moved at a time
KEY_BYTES = 20
PATH = re.compile(r"^(/[a-zA-Z0-9]+)(?:/([0-9a-f]*))?$")
RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")


class ProtocolError(Exception):
    """An answer that is no success."""

    def __init__(self, status, kind, message):
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Store:
    """Blobs as files: written under another name, synced, then renamed."""

    def __init__(self, folder):
        self.blobs = pathlib.Path(folder) / "blobs"
        self.unfinished = pathlib.Path(folder) / "unfinished"
        for place in (self.blobs, self.unfinished):
            place.mkdir(parents=True, exist_ok=True)
        # Whatever was being written when the last process ended was never answered.
        for leftover in self.unfinished.iterdir():
            leftover.unlink()
        sync_folder(self.blobs.parent)

    def put(self, source, size):
        """Takes exactly `size` bytes; returns the key."""
        key = secrets.token_hex(KEY_BYTES)
        path = self.unfinished / key
        try:
            with path.open("xb") as file:
                left = size
                while left:
                    piece = source.read(min(PIECE, left))
                    if not piece:
                        raise ProtocolError(400, "IncompleteBody", f"the body ended {left} bytes early")
                    file.write(piece)
                    left -= len(piece)
                file.flush()
                os.fsync(file.fileno())
            path.rename(self.blobs / key)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            raise
        sync_folder(self.blobs)
        return key

    def open(self, key):
        try:
            return (self.blobs / key).open("rb")
        except FileNotFoundError:
            raise not_found() from None

    def delete(self, key):
        try:
            (self.blobs / key).unlink()
        except FileNotFoundError:
            raise not_found() from None
        sync_folder(self.blobs)

    def usage(self):
        disk = os.statvfs(self.blobs)
        return {
            "available": disk.f_bavail * disk.f_frsize,
            "free": disk.f_bfree * disk.f_frsize,
            "total": disk.f_blocks * disk.f_frsize,
        }


def sync_folder(folder):
    """A new or removed name is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def not_found():
    return ProtocolError(404, "ObjNotFound", "This object does not exist")


def key_of(target):
    """The key in a request's target; None where there is none."""
    found = PATH.match(target)
    if not found:
        raise ProtocolError(400, "InvalidURI", "malformed URI")
    service, key = found.groups()
    if service != SERVICE:
        raise ProtocolError(400, "InvalidAction", f"unsupported service '{service}'")
    if key and len(key) > 255:
        raise not_found()
    return key or None


def wanted(header, size):
    """The bytes that a Range header asks for, as first and last; None for all of them."""
    found = RANGE.match(header.strip()) if header else None
    if not found or found.groups() == ("", ""):
        return None
    unsatisfiable = ProtocolError(416, "InvalidRange", "The requested range cannot be satisfied.")
    first, last = found.groups()
    if not first:
        if int(last) == 0:
            raise unsatisfiable
        return (max(size - int(last), 0), size - 1) if size else None
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise unsatisfiable
    return int(first), min(int(last), size - 1) if last else size - 1


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection; the server has one thread for each."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds of silence, also between requests
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_PUT(self):
        def put():
            if key_of(self.path) is not None:
                raise ProtocolError(400, "InvalidURI", "PUT url cannot contain a key")
            length = self.headers.get("Content-Length")
            if length is None:
                raise ProtocolError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
            if not length.isascii() or not length.isdigit():
                raise ProtocolError(400, "InvalidInput", "bad Content-Length")
            key = self.server.store.put(self.rfile, int(length))
            self.answer(201, {"Location": f"{SERVICE}/{key}"})

        self.carefully(put, unread=True)

    def do_GET(self):
        def get():
            if self.path == f"{SERVICE}?diskUsage":
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(self.server.store.usage()).encode())
                return
            with self.server.store.open(self.key()) as file:
                size = os.fstat(file.fileno()).st_size
                span = wanted(self.headers.get("Range"), size)
                first, last = span or (0, size - 1)
                self.send_response(206 if span else 200)
                self.send_header("Content-Length", str(last - first + 1))
                self.send_header("Accept-Ranges", "bytes")
                if span:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                self.end_headers()
                self.send(file, first, last - first + 1)

        self.carefully(get)

    def do_DELETE(self):
        def delete():
            self.server.store.delete(self.key())
            self.send_response(204)
            self.end_headers()

        self.carefully(delete)

    def key(self):
        key = key_of(self.path)
        if key is None:
            raise ProtocolError(400, "MissingParameter", "URL is missing key")
        return key

    def send(self, file, first, left):
        file.seek(first)
        while left:
            piece = file.read(min(PIECE, left))
            if not piece:
                # The head has promised more: only a broken connection is honest now.
                self.close_connection = True
                return
            self.wfile.write(piece)
            left -= len(piece)

    def answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def carefully(self, work, *, unread=False):
        """Runs `work` and answers what goes wrong. With `unread`, a failure may leave a body nobody has read."""
        try:
            work()
        except ProtocolError as error:
            self.close_connection = self.close_connection or unread
            self.refuse(error.status, error.kind, error.message)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except OSError as error:
            print(f"{self.command} {self.path}: {error}", file=sys.stderr)
            self.close_connection = True
            self.refuse(500, "InternalError", "We encountered an internal error. Please try again.")

    def refuse(self, status, kind, message):
        document = json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":"))
        headers = {"Connection": "close"} if self.close_connection else {}
        with contextlib.suppress(OSError):
            self.answer(status, headers, f"{document}\n".encode())

    def log_message(self, *_):
        """Requests are told of by the front, which knows what they are for."""


# Whatever else is asked for is not part of the protocol.
for method in ("POST", "HEAD", "PATCH", "OPTIONS"):

    def refuse_method(self):
        self.close_connection = True
        self.refuse(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    setattr(Handler, f"do_{method}", refuse_method)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address, store):
        super().__init__(address, Handler)
        self.store = store


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, help="where blobs are kept")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (anybody who reaches it may ask)")
    parser.add_argument("--port", type=int, default=9991, help="port to listen on; 0 for any free one")
    arguments = parser.parse_args()
    with Server((arguments.bind, arguments.port), Store(arguments.folder)) as server:
        host, port = server.server_address[:2]
        print(f"listening on {host}:{port}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
