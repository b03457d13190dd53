"""W5: a bucket mounted as a folder by s3fs, over TLS as the tutorial has it, and what people do in folders."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from conftest import sizes_in
from files import MIB, digest, make_tree, payload, tree, write

MOUNTER = next(filter(None, map(shutil.which, ("fusermount3", "fusermount"))), None)


def hindrance() -> str | None:
    if shutil.which("s3fs") is None:
        return "s3fs is not installed"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be used here"
    return None if MOUNTER or os.geteuid() == 0 else "there is no fusermount"


pytestmark = pytest.mark.skipif(hindrance() is not None, reason=str(hindrance()))


class Mount:
    """A bucket as a folder. Nothing is cached between mounts."""

    def __init__(self, folder: pathlib.Path, server, bucket, ca):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        password = write(folder.parent / "passwd-s3fs", f"{server.access_key}:{server.secret_key}\n")
        password.chmod(0o600)
        self.log = folder.parent / "s3fs.log"
        options = [
            f"passwd_file={password}",
            f"url={server.endpoint}",
            "use_path_request_style",
            "multipart_size=10",
            "retries=2",
            f"tmpdir={folder.parent}",
        ]
        words = ["s3fs", bucket, str(folder), "-f", *(word for option in options for word in ("-o", option))]
        environment = {"PATH": os.environ["PATH"], "CURL_CA_BUNDLE": str(ca), "HOME": str(folder.parent)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)
        deadline = time.monotonic() + 90
        while not os.path.ismount(folder):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                said = self.log.read_text(errors="replace")
                if "fuse: mount failed" in said or "Operation not permitted" in said:
                    pytest.skip(f"this machine does not let s3fs mount: {said.strip().splitlines()[-1]}")
                pytest.fail(said)
            time.sleep(0.05)

    def end(self):
        if os.path.ismount(self.folder):
            words = [MOUNTER, "-u"] if MOUNTER else ["umount"]
            for _ in range(20):
                done = subprocess.run([*words, str(self.folder)], capture_output=True, check=False)
                if done.returncode == 0:
                    break
                time.sleep(0.2)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def mount(tls_server, bucket, tmp_path):
    """Mounts the bucket anew each time it is called."""
    with contextlib.ExitStack() as stack:

        def again():
            stack.close()
            one = Mount(tmp_path / "mnt", tls_server, bucket, tls_server.ca)
            stack.callback(one.end)
            return one.folder

        yield again


@pytest.fixture
def client(client_of, tls_server, bucket):
    client = client_of(tls_server, verify=str(tls_server.ca))
    client.create_bucket(Bucket=bucket)
    return client


def test_w5_files_and_folders_made_in_the_mount_are_objects(mount, client, bucket):
    """The tutorial, word for word."""
    folder = mount()
    for name in ("file1", "file2"):
        (folder / name).touch()
    (folder / "dir1").mkdir()
    (folder / "dir1/file3").touch()
    assert sizes_in(client, bucket) == {"dir1/": 0, "dir1/file3": 0, "file1": 0, "file2": 0}
    assert sorted(os.listdir(mount())) == ["dir1", "file1", "file2"]


def test_w5_a_tree_goes_in_and_comes_out_after_a_new_mount(mount, client, bucket, tmp_path):
    before = make_tree(tmp_path / "source", large=12 * MIB)
    shutil.copytree(tmp_path / "source", mount() / "in")
    folder = mount()
    assert tree(folder / "in") == before
    shutil.copytree(folder / "in", tmp_path / "out")
    assert tree(tmp_path / "out") == before
    shutil.rmtree(folder / "in")
    assert sizes_in(client, bucket) == {}


def test_w5_append_rename_delete_and_modes(mount, client, bucket):
    folder = mount()
    write(folder / "log", "one\n")
    for line in ("two\n", "three\n"):
        with (folder / "log").open("a") as log:
            log.write(line)
    (folder / "log").rename(folder / "renamed")
    (folder / "a").mkdir()
    write(folder / "a/deep/file", "x" * 100)
    (folder / "a").rename(folder / "b")
    (folder / "renamed").chmod(0o640)
    os.utime(folder / "renamed", (1_000_000_000, 1_000_000_000))
    with (folder / "b/deep/file").open("r+b") as file:
        file.seek(50)
        file.write(b"in the middle")
    write(folder / "gone", "gone")
    (folder / "gone").unlink()
    folder = mount()
    assert (folder / "renamed").read_text() == "one\ntwo\nthree\n"
    status = (folder / "renamed").stat()
    assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o640, 1_000_000_000)
    assert (folder / "b/deep/file").read_bytes() == b"x" * 50 + b"in the middle" + b"x" * 37
    assert sorted(os.listdir(folder)) == ["b", "renamed"]


def test_w5_large_and_sparse_files(mount, client, bucket, tmp_path):
    """100 MiB in parts; a change in the middle, which s3fs sends as a part between copied ones; holes."""
    folder = mount()
    whole = bytearray(payload(100 * MIB))
    write(folder / "large", bytes(whole))
    with (folder / "sparse").open("wb") as sparse:
        sparse.seek(30 * MIB)
        sparse.write(b"end")
    folder = mount()
    assert (folder / "large").stat().st_size == 100 * MIB
    with (folder / "large").open("r+b") as large:
        large.seek(60 * MIB)
        large.write(b"changed")
    whole[60 * MIB : 60 * MIB + 7] = b"changed"
    with (folder / "large").open("ab") as large:
        large.write(b"and more")
    whole += b"and more"
    folder = mount()
    assert digest(folder / "large") == digest(bytes(whole))
    assert digest(folder / "sparse") == digest(bytes(30 * MIB) + b"end")
    sizes = sizes_in(client, bucket)
    assert sizes == {"large": len(whole), "sparse": 30 * MIB + 3}
