"""Content keys, atomic files and checksums.

A result is found under what made it, or it is not there; and it is what was written, or it is made
again.
"""

from __future__ import annotations

from hybrid_pipeline.storage.checksums import (
    SEAL,
    Checksum,
    DamagedError,
    check,
    check_noted,
    is_noted,
    is_sealed,
    is_whole,
    seal,
    sealed_file,
    set_aside,
    verify,
    write_noted,
)
from hybrid_pipeline.storage.code import code_key, import_closure
from hybrid_pipeline.storage.files import (
    canonical_json,
    json_text,
    read_json,
    write_atomically,
    write_json_atomically,
    write_text_atomically,
)
from hybrid_pipeline.storage.keys import (
    PACKAGE_ROOT,
    code_fingerprint,
    content_key,
    file_key,
    library_versions,
    package_fingerprint,
)
from hybrid_pipeline.storage.leftovers import sweep
from hybrid_pipeline.storage.locks import LOCKS, FileLock, LockedError, UnlockableError, locked
from hybrid_pipeline.storage.workspace import Workspace

__all__ = [
    "LOCKS",
    "PACKAGE_ROOT",
    "SEAL",
    "Checksum",
    "DamagedError",
    "FileLock",
    "LockedError",
    "UnlockableError",
    "Workspace",
    "canonical_json",
    "check",
    "check_noted",
    "code_fingerprint",
    "code_key",
    "content_key",
    "file_key",
    "import_closure",
    "is_noted",
    "is_sealed",
    "is_whole",
    "json_text",
    "library_versions",
    "locked",
    "package_fingerprint",
    "read_json",
    "seal",
    "sealed_file",
    "set_aside",
    "sweep",
    "verify",
    "write_atomically",
    "write_json_atomically",
    "write_noted",
    "write_text_atomically",
]
