"""No secret reaches a log, a metric or an error, whatever the log's level."""

import base64
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from files import payload
from server import Server

KEY = bytes(range(32, 64))
TOKEN = "report-token-of-this-test"


def client(server, version="s3v4", secret=None):
    session = boto3.session.Session(server.access_key, secret or server.secret_key, region_name="us-east-1")
    settings = {"signature_version": version, "retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}}
    return session.client("s3", endpoint_url=server.endpoint, config=Config(**settings))


def fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")


def post_form(server, form, spoiled: bool) -> str:
    fields = form["fields"] | ({"policy": form["fields"]["policy"] + "AA"} if spoiled else {})
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    body = "".join([*parts, '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nform\r\n--b--\r\n']).encode()
    request = urllib.request.Request(form["url"], body, {"Content-Type": "multipart/form-data; boundary=b"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.own_server
def test_no_secret_is_logged_at_the_lowest_level(tmp_path):
    """Every way to prove who one is, right and wrong, and a client's own encryption key."""
    settings = {"reportToken": TOKEN, "log": {"logLevel": "trace", "dumpLevel": "error"}}
    secrets = {TOKEN}
    told = []
    with Server(tmp_path / "server", settings=settings, environment={"LOG_LEVEL": "trace"}) as server:
        secrets.add(server.secret_key)
        s3, old = client(server), client(server, "s3")
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="plain", Body=payload(100_000, 1))
        own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
        s3.put_object(Bucket="kept", Key="sealed", Body=b"x", **own)
        assert s3.get_object(Bucket="kept", Key="sealed", **own)["Body"].read() == b"x"
        secrets |= {KEY.decode(), base64.b64encode(KEY).decode(), KEY.hex()}
        old.get_object(Bucket="kept", Key="plain")
        for one in (s3, old):
            url = one.generate_presigned_url("get_object", Params={"Bucket": "kept", "Key": "plain"}, ExpiresIn=600)
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
            secrets.add(query.get("X-Amz-Signature") or query["Signature"])
            fetch(url)
            told.append(fetch(url + "&more=1"))
        form = s3.generate_presigned_post("kept", "formed")
        secrets.add(form["fields"].get("x-amz-signature") or form["fields"]["signature"])
        post_form(server, form, spoiled=False)
        told.append(post_form(server, form, spoiled=True))
        for version in ("s3v4", "s3"):
            with pytest.raises(ClientError) as refused:
                client(server, version, "notTheSecretOfAnybody").get_object(Bucket="kept", Key="plain")
            told.append(str(refused.value.response))
            secrets.add("notTheSecretOfAnybody")
        admin = f"http://127.0.0.1:{server.admin_port}"
        told += [fetch(f"{admin}/metrics"), fetch(f"{admin}/ready"), fetch(f"{server.endpoint}/_/report")]
        log = server.log
    text = log.read_text(errors="replace")
    assert '"level":"debug"' in text, "the log is of a low level"
    shown = "\n".join(told)
    for secret in secrets:
        forms = {secret, urllib.parse.quote(secret, safe="")}
        assert not [form for form in forms if form in text], f"in the log: {secret[:6]}…"
        # A refusal may repeat the signature that was sent, never what would have been right.
        assert secret == TOKEN or secret not in shown or len(secret) == 64, f"in an answer: {secret[:6]}…"
    assert TOKEN not in shown
