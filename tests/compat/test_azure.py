"""Locations of type azure in front of Azurite, Microsoft's own emulator of the blob service."""

import base64
import email.utils
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import certificates
from files import MIB, payload
from server import REPOSITORY, Server, free_ports

pytestmark = pytest.mark.own_server

START_LIMIT = 150  # seconds until the emulator must answer
# The account that every emulator has: public knowledge.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


TENANT, CLIENT, SECRET = "11111111-2222-3333-4444-555555555555", "an-application", "its secret/+&"
LOGINS = ["shared-key", "shared-access-signature", "client-secret"]


class Blobs:
    """The container, asked without the server."""

    def __init__(self, scheme, port):
        self.endpoint = f"{scheme}://127.0.0.1:{port}/{ACCOUNT}"
        self.trusting = ssl._create_unverified_context()

    def ask(self, method, path, query=""):
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        parameters = [f"\n{pair.replace('=', ':')}" for pair in sorted(query.split("&")) if pair]
        resource = f"/{ACCOUNT}/{ACCOUNT}{path}" + "".join(parameters)
        lines = [method, *[""] * 11, *[f"{name}:{value}" for name, value in sorted(headers.items())], resource]
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature(lines)}"
        url = f"{self.endpoint}{path}" + (f"?{query}" if query else "")
        request = urllib.request.Request(url, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30, context=self.trusting) as answer:
            return answer.headers, answer.read()


def signature(lines):
    signed = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(signed).decode()


def shared_access(permissions="rwdlac"):
    """A signature for the blobs of the account, for an hour (reference: "Create an account SAS")."""
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    fields = {"sv": "2021-08-06", "ss": "b", "srt": "sco", "sp": permissions, "se": end, "spr": "https,http"}
    signed = ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")
    lines = [ACCOUNT, *(fields.get(name, "") for name in signed), ""]
    return urllib.parse.urlencode({**fields, "sig": signature(lines)})


class Entra(http.server.ThreadingHTTPServer):
    """Gives tokens to who has the secret, as Entra ID does; the emulator believes them. A context manager."""

    daemon_threads = True

    def __init__(self, home, paths):
        super().__init__(("127.0.0.1", 0), EntraHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(home / paths["cert"], home / paths["key"])
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = f"https://127.0.0.1:{self.server_address[1]}"
        self.given, self.audience = 0, "https://storage.azure.com"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class EntraHandler(http.server.BaseHTTPRequestHandler):
    """The token endpoint, version 2.0."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        expected = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scope": "https://storage.azure.com/.default",
        }
        good = self.path == f"/{TENANT}/oauth2/v2.0/token" and dict(urllib.parse.parse_qsl(text)) == expected
        answer = {"error": "invalid_client"}
        if good:
            self.server.given += 1
            now = int(time.time())
            times = {"iat": now, "nbf": now - 5, "exp": now + 3600}
            claims = {"aud": self.server.audience, "iss": f"https://sts.windows.net/{TENANT}/", **times}
            pieces = [base64.urlsafe_b64encode(json.dumps(piece).encode()) for piece in ({"alg": "RS256"}, claims)]
            token = b".".join([*(piece.rstrip(b"=") for piece in pieces), b"c2lnbmVk"]).decode()
            answer = {"token_type": "Bearer", "expires_in": 3599, "access_token": token}
        body = json.dumps(answer).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Certificates, and the folder that they are in."""
    home = tmp_path_factory.mktemp("authority")
    return home, certificates.make(home)


@pytest.fixture(scope="module")
def entra(authority):
    with Entra(*authority) as running:
        yield running


def azurite(clients):
    return clients / "node_modules/azurite/dist/src/blob/main.js"


@pytest.fixture(scope="module", params=LOGINS)
def login(request):
    return request.param


@pytest.fixture(scope="module")
def blobs(clients, login, authority, tmp_path_factory):
    home = tmp_path_factory.mktemp("azurite")
    (port,) = free_ports(1)
    words = ["node", azurite(clients), "--silent", "--skipApiVersionCheck", "--location", home]
    words = [str(word) for word in [*words, "--blobHost", "127.0.0.1", "--blobPort", port]]
    scheme = "http"
    if login == "client-secret":
        # Tokens are taken over TLS only.
        folder, paths = authority
        words += ["--oauth", "basic", "--cert", str(folder / paths["cert"]), "--key", str(folder / paths["key"])]
        scheme = "https"
    environment = {**os.environ, "HOME": str(home)}
    with (home / "azurite.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=home, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        container = Blobs(scheme, port)
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                container.ask("PUT", "/objects", "restype=container")
                break
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield container
    finally:
        process.kill()
        process.wait()


def details_of(login) -> dict:
    """What a location says of who we are."""
    return {
        "shared-key": {"azureStorageAccountName": ACCOUNT, "azureStorageAccessKey": KEY},
        "shared-access-signature": {"sasToken": shared_access()},
        "client-secret": {"tenantId": TENANT, "clientId": CLIENT, "clientKey": SECRET},
    }[login]


@pytest.fixture(scope="module")
def near(blobs, login, entra, authority, tmp_path_factory):
    """A client of a server whose location `blobs` is the container."""
    home = tmp_path_factory.mktemp("near")
    locations = json.loads((REPOSITORY / "locationConfig.json").read_text())
    where = {"azureStorageEndpoint": blobs.endpoint, "azureContainerName": "objects", "authMethod": login}
    logins = {
        "blobs": details_of(login),
        "strangers": {
            "shared-key": {"azureStorageAccountName": ACCOUNT, "azureStorageAccessKey": "AAAA"},
            "shared-access-signature": {"sasToken": shared_access("r")},
            "client-secret": {"tenantId": TENANT, "clientId": CLIENT, "clientKey": "not the secret"},
        }[login],
    }
    for name, details in logins.items():
        about = {"type": "azure", "objectId": name, "legacyAwsBehavior": False}
        locations[name] = {**about, "details": {**where, **details}}
    (home / "locations.json").write_text(json.dumps(locations))
    environment = {
        "S3_LOCATION_FILE": str(home / "locations.json"),
        "AZURE_AUTHORITY_HOST": f"{entra.address}/",
        "HTTPS_PROXY_CERTIFICATE": str(authority[0] / authority[1]["ca"]),
    }
    with Server(home, environment=environment) as running:
        settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
        yield boto3.client(
            "s3",
            endpoint_url=running.endpoint,
            region_name="us-east-1",
            config=settings,
            aws_access_key_id=running.access_key,
            aws_secret_access_key=running.secret_key,
        )


@pytest.fixture
def there(near, bucket):
    near.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "blobs"})
    return bucket


def test_objects_are_blobs_with_their_headers(near, blobs, there):
    told = {"ContentType": "text/plain", "Metadata": {"colour": "blue"}, "Tagging": "t=v"}
    near.put_object(Bucket=there, Key="a/b c.txt", Body=b"hello", **told)
    headers, body = blobs.ask("GET", f"/objects/{there}/a/b%20c.txt")
    assert (body, headers["Content-Type"], headers["x-ms-meta-colour"]) == (b"hello", "text/plain", "blue")
    assert json.loads(headers["x-ms-meta-tags"]) == {"t": "v"}
    near.put_object_tagging(Bucket=there, Key="a/b c.txt", Tagging={"TagSet": [{"Key": "n", "Value": "w"}]})
    assert near.get_object(Bucket=there, Key="a/b c.txt")["Body"].read() == b"hello"
    near.delete_object(Bucket=there, Key="a/b c.txt")
    deadline = time.monotonic() + 90
    while True:
        try:
            blobs.ask("GET", f"/objects/{there}/a/b%20c.txt")
        except urllib.error.HTTPError as error:
            assert error.code == 404
            break
        assert time.monotonic() < deadline, "the blob of a deleted object stays"
        time.sleep(0.2)


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 4 * MIB + 1, 40 * MIB])
def test_bytes_come_back(near, there, size):
    body = payload(size)
    etag = near.put_object(Bucket=there, Key="key", Body=body)["ETag"]
    assert etag.strip('"') == hashlib.md5(body).hexdigest()
    assert near.get_object(Bucket=there, Key="key")["Body"].read() == body
    if size > 10:
        part = near.get_object(Bucket=there, Key="key", Range=f"bytes=5-{size - 3}")["Body"].read()
        assert part == body[5 : size - 2]
    near.copy_object(Bucket=there, Key="copy", CopySource={"Bucket": there, "Key": "key"})
    assert near.get_object(Bucket=there, Key="copy")["Body"].read() == body


def test_uploads_in_parts(near, there):
    upload = near.create_multipart_upload(Bucket=there, Key="parts")["UploadId"]
    bodies = {3: payload(11), 1: payload(9 * MIB), 2: payload(5 * MIB)}
    parts = []
    for number, body in bodies.items():
        answer = near.upload_part(Bucket=there, Key="parts", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    parts.sort(key=lambda part: part["PartNumber"])
    near.complete_multipart_upload(Bucket=there, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    whole = b"".join(bodies[number] for number in (1, 2, 3))
    assert near.get_object(Bucket=there, Key="parts")["Body"].read() == whole
    assert near.get_object(Bucket=there, Key="parts", PartNumber=2)["Body"].read() == bodies[2]
    upload = near.create_multipart_upload(Bucket=there, Key="parts")["UploadId"]
    near.upload_part(Bucket=there, Key="parts", UploadId=upload, PartNumber=1, Body=b"lost")
    near.abort_multipart_upload(Bucket=there, Key="parts", UploadId=upload)
    assert near.get_object(Bucket=there, Key="parts")["Body"].read() == whole


def test_versions_cannot_be_there(near, there):
    near.put_object(Bucket=there, Key="key", Body=b"before")
    with pytest.raises(ClientError) as refused:
        near.put_bucket_versioning(Bucket=there, VersioningConfiguration={"Status": "Enabled"})
        near.put_object(Bucket=there, Key="key", Body=b"version")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert near.get_object(Bucket=there, Key="key")["Body"].read() == b"before"


def test_who_may_not_write_is_told_of_an_outage(near, bucket):
    near.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "strangers"})
    with pytest.raises(ClientError) as refused:
        near.put_object(Bucket=bucket, Key="key", Body=b"never")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_tokens_serve_until_they_are_refused(near, login, entra, there):
    for number in range(5):
        near.put_object(Bucket=there, Key=f"key{number}", Body=b"bytes")
    if login == "client-secret":
        assert entra.given == 1, "one token serves many requests"


def test_the_rules_of_stores_hold(clients, suite, login):
    if login == "shared-key":
        assert suite("cloudserver", "data::azure::tests::", AZURITE=str(azurite(clients))) >= 3
