"""Globs and regular expressions of users, matched in bounded time. No I/O.

Both the pattern and the name may come from an attacker. A glob becomes a regular expression in
which nothing is tried twice: after each ``*``, the first place where the next part fits is kept
(`fnmatch.translate`). A regular expression runs on RE2, whose time grows with the length of the
text, and never with a power of it.
"""

import fnmatch
import re
from functools import lru_cache
from typing import Any

import re2

MAX_PATTERN_CHARS = 128
"""As many as a name has: IMS allows 128, and `cloud/http/payload.py` cuts longer ones."""
MAX_PROGRAM = 200
"""Instructions of a compiled expression: `^(.+)-[0-9]{8}$` has 22, `[0-9a-f]{7,40}` 117. RE2
may need as many steps for each character. A name of 128 characters takes up to 0.3 ms, with 500
instructions 1.7 ms: measured with expressions that were made to be slow."""
MAX_MEMORY_BYTES = 256 * 1024
"""Of one compiled expression."""
MAX_COMPILED = 128
"""Expressions that are kept, as many as the package `re2` keeps itself: 32 MiB."""
MAX_GROUPS_CACHED = 8192
"""Pairs of expression and name. One takes about 300 bytes; calling RE2 costs 6 µs."""


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A glob for whole names: ``*`` is any text, ``?`` any one character.

    Raises:
        ValueError: the pattern can't be used; the message names what to do.
    """
    _check_length(pattern)
    if "[" in pattern or "]" in pattern:
        raise ValueError("has brackets: use * and ? only, or several terms")
    return re.compile(fnmatch.translate(pattern))


def check_regex(pattern: str) -> None:
    """Check a regular expression for `captured`.

    Raises:
        ValueError: the pattern can't be used; the message names what to do.
    """
    _check_length(pattern)
    try:
        compiled = _compile(pattern)
    except (re2.error, UnicodeEncodeError) as exc:
        cause = exc.args[0] if isinstance(exc, re2.error) else exc
        text = cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)
        raise ValueError(
            f"does not compile: {text}. Use the syntax of RE2, without lookahead and backreferences"
        ) from None
    if compiled.groups > 1:
        raise ValueError(f"has {compiled.groups} capture groups: keep one, write others as (?:…)")
    if compiled.programsize > MAX_PROGRAM:
        raise ValueError(
            f"compiles to {compiled.programsize} instructions, and {MAX_PROGRAM} are allowed: use "
            r"smaller counts in {…}, and [A-Za-z] instead of \pL"
        )


@lru_cache(maxsize=MAX_GROUPS_CACHED)
def captured(pattern: str, text: str) -> str:
    """What a checked regular expression captures.

    The text of its capture group; of the whole match without a capture group; all of ``text`` when
    it does not match or the group has no part in the match.
    """
    compiled = _compile(pattern)
    # As bytes: for a str the package converts all offsets, which takes twice the time.
    found = compiled.search(text.encode())
    inner: bytes | None = None if found is None else found.group(compiled.groups)
    return text if inner is None else inner.decode(errors="replace")  # \C matches half a character


@lru_cache(maxsize=MAX_COMPILED)
def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEMORY_BYTES
    options.log_errors = False  # it writes to stderr
    return re2.compile(pattern, options)


def _check_length(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"has {len(pattern)} characters, and {MAX_PATTERN_CHARS} are allowed")
