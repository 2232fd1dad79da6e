"""Digests: is this file what its authors published?"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["check_digest", "damaged", "digest", "unpacked"]

MD5_LENGTH = 32

T = TypeVar("T")


def digest(content: bytes | memoryview, like: str) -> str:
    """The digest of ``content`` in hexadecimal, of the kind of ``like``: MD5 (32 digits) or SHA-256 (64)."""
    if len(like) == MD5_LENGTH:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    return hashlib.sha256(content).hexdigest()


def check_digest(path: Path, content: bytes | memoryview, expected: str, part: str = "content") -> None:
    """Refuse content that is not what was published.

    Args:
        path: The file that the content came from, for the sentence.
        content: The bytes that the digest is about, decoded or not.
        expected: MD5 or SHA-256, in hexadecimal.
        part: What of the file it is, for the sentence.

    Raises:
        ValueError: If the digest differs; names the file, both digests, and the remedy.

    Example:
        >>> check_digest(Path("notes.txt"), b"", "d41d8cd98f00b204e9800998ecf8427e")
    """
    found = digest(content, expected)
    if found != expected:
        raise ValueError(damaged(path, f"its {part} must have digest {expected}, got {found}"))


def damaged(path: Path, what: str) -> str:
    """The sentence for a file that cannot be trusted; ``what`` says what is wrong with it."""
    return f"{path} is damaged: {what}. Delete it and fetch it again (`lowland data fetch`)."


def unpacked(path: Path, decode: Callable[[Path], T], errors: tuple[type[Exception], ...]) -> T:
    """``decode(path)``, where ``errors`` mean that the file is damaged.

    Raises:
        ValueError: If decoding fails; names the file.
    """
    try:
        return decode(path)
    except errors as error:
        raise ValueError(damaged(path, f"it cannot be decoded ({type(error).__name__}: {error})")) from error
