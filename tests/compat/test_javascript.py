"""The AWS SDKs for JavaScript, versions 2 and 3, and the note-taking app (walk-through W2)."""

import pytest

from conftest import HERE

SCRIPTS = HERE / "javascript"


@pytest.fixture
def node(run):
    def script(name, *words, **environment):
        # Both versions say at length what will not be maintained any more; their users know.
        quiet = {"AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1", "NODE_NO_WARNINGS": "1"}
        return run("node", SCRIPTS / name, *words, environment=quiet | environment)

    return script


@pytest.mark.parametrize("signature", ["v4", "v2"])
def test_version_2_of_the_sdk(node, server, bucket, signature):
    assert "all as expected" in node("sdk_v2.js", server.endpoint, bucket, signature)


def test_version_3_of_the_sdk(node, server, bucket):
    assert "all as expected" in node("sdk_v3.js", server.endpoint, bucket)


def test_version_3_of_the_sdk_over_tls(node, tls_server, bucket):
    printed = node("sdk_v3.js", tls_server.endpoint, bucket, NODE_EXTRA_CA_CERTS=str(tls_server.ca))
    assert "all as expected" in printed


@pytest.mark.parametrize("app", ["notes_v2.js", "notes_v3.js"])
def test_the_notes_of_the_tutorial_are_seen_by_another_client(node, run, server, bucket, app):
    keys = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    aws = ["aws", "--endpoint-url", server.endpoint, "s3"]
    run(*aws, "mb", f"s3://{bucket}", environment=keys)
    node(app, server.endpoint, bucket, "monday", "remember", "the", "milk, naïvely")
    assert "monday" in run(*aws, "ls", f"s3://{bucket}", environment=keys)
    assert run(*aws, "cp", f"s3://{bucket}/monday", "-", environment=keys) == "remember the milk, naïvely"
