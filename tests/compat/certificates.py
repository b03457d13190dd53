"""Certificates for the TLS tests, made with openssl as people make them by hand."""

import pathlib
import subprocess

HOST = "s3.scality.test"
SUBJECT = "/C=US/ST=Country/L=City/O=Organization"


def endpoints() -> dict:
    """The settings that make HOST one of the server's own names."""
    return {
        "restEndpoints": {
            "localhost": "us-east-1",
            "127.0.0.1": "us-east-1",
            HOST: "us-east-1",
        }
    }


def make(folder: pathlib.Path, *, alternative_names: bool = True) -> dict[str, str]:
    """Makes `ca.crt`, `test.crt` and `test.key`; returns the `certFilePaths` setting.

    Without `alternative_names` the server's name is in the subject only, word for word as the
    tutorial has it; today's clients want the names in the extension.
    """

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("genrsa", "-out", "ca.key", "2048")
    openssl(
        "req",
        "-new",
        "-x509",
        "-extensions",
        "v3_ca",
        "-key",
        "ca.key",
        "-sha256",
        "-out",
        "ca.crt",
        "-days",
        "36500",
        "-subj",
        f"{SUBJECT}/CN=scality.test",
    )
    openssl("genrsa", "-out", "test.key", "2048")
    openssl("req", "-new", "-key", "test.key", "-out", "test.csr", "-subj", f"{SUBJECT}/CN=*.scality.test")
    extensions = []
    if alternative_names:
        names = ["*.scality.test", f"*.{HOST}", "localhost", "*.localhost"]
        listed = ",".join([f"DNS:{name}" for name in names] + ["IP:127.0.0.1"])
        (folder / "test.ext").write_text(f"subjectAltName={listed}\n")
        extensions = ["-extfile", "test.ext"]
    openssl(
        "x509",
        "-req",
        "-in",
        "test.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "test.crt",
        "-days",
        "36500",
        "-sha256",
        *extensions,
    )
    return {"key": "./test.key", "cert": "./test.crt", "ca": "./ca.crt"}
