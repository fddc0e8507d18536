"""Digests: short names that follow from content alone, equal for equal bytes wherever they lie."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def digest_bytes(data: bytes) -> str:
    """Returns 32 hexadecimal digits of BLAKE2b (RFC 7693); photos are known by it."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_json(value: Any) -> str:
    """Returns the digest of a value that JSON can hold, whatever the order of a dict's keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return digest_bytes(text.encode())


def digest_set(digests: Iterable[str]) -> str:
    """Returns the digest of some strings in whatever order they come; repeats count."""
    return digest_json(sorted(digests))
