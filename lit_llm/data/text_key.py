"""When two texts count as the same."""

from __future__ import annotations

import hashlib
import re

HTML_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def text_key(text: str) -> bytes:
    """16 bytes that are equal for equal texts: white space and ``<br />`` do not count.

    A run of either is one blank, none at the ends; letters are compared as they stand.
    """
    plain = " ".join(HTML_BREAK.sub(" ", text).split())
    return hashlib.blake2b(plain.encode(), digest_size=16).digest()
