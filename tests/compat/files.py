"""Payloads and file trees whose content the tests compare by digest."""

import hashlib
import pathlib
import random

MIB = 1024 * 1024


def payload(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress and are the same in every run."""
    return random.Random(f"{size}/{seed}").randbytes(size)


def digest(source) -> str:
    """SHA-256 of bytes or of a file."""
    data = source if isinstance(source, (bytes, bytearray)) else pathlib.Path(source).read_bytes()
    return hashlib.sha256(data).hexdigest()


def write(path: pathlib.Path, data) -> pathlib.Path:
    """Makes a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def tree(folder: pathlib.Path) -> dict[str, str]:
    """Every file below a folder with its digest: two trees are alike when these are equal."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in files}


# Names that clients have tripped over: spaces, plus, percent, non-ASCII, emoji, quotes, ampersand.
AWKWARD_NAMES = [
    "plain.txt",
    "with space.txt",
    "plus+and%25percent.txt",
    "ünï/cödé/日本語.txt",
    "emoji-🦀.bin",
    "quote'and\"double.txt",
    "a&b=c;d,e@f.txt",
    "tilde~(paren)[square]{curly}.txt",
    "deep/er/and/deep/er/file",
]


def make_tree(folder: pathlib.Path, *, large: int = 0) -> dict[str, str]:
    """A folder of awkwardly named small files, an empty one, and one of `large` bytes."""
    for number, name in enumerate(AWKWARD_NAMES):
        write(folder / name, payload(100 + 997 * number, number))
    write(folder / "empty", b"")
    if large:
        write(folder / "large.bin", payload(large))
    return tree(folder)
