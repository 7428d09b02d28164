"""The engine file: one uncompressed zip that can be mapped into memory.

    manifest.json          what the engine is (`manifest.py`)
    weights.bin            all constants, each aligned to 64 bytes; so is the blob
    kernels/NAME.o, .ll    device code, and its portable form
    ir/LEVEL.mlir          snapshots of the compilation (optional)

The manifest holds the size and SHA-256 of every other entry; the zip's comment holds
the manifest's own. `read` checks all of it before anything is decoded further, mapped
or loaded. Two builds of one model write the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any, TypeAlias, cast

import numpy as np

from stepwell.errors import EngineFileError, StepwellError

from .manifest import FORMAT, SCHEMA, FileInfo, Manifest
from .records import decode, encode
from .replacing import replacing
from .verify_manifest import WEIGHT_ALIGNMENT, verify_manifest

Blob: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

MANIFEST = "manifest.json"
WEIGHTS = "weights.bin"
MAX_ENTRIES = 4096
MAX_MANIFEST_BYTES = 256 << 20
_NAME = re.compile(r"(manifest\.json|weights\.bin|(kernels|ir)/[A-Za-z0-9_.+-]{1,200})")
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER = 30  # bytes of a zip entry's header before its name; APPNOTE.TXT 4.3.7
_ALIGNMENT_FIELD = 0xD935  # the extra field that Android's zipalign pads with
_CHUNK = 1 << 22


@dataclass(frozen=True)
class EngineFile:
    """An engine's contents, in memory or mapped from a file.

    Attributes:
        weights: the bytes of `weights.bin`.
        code: the bytes of each entry under `kernels/`, by full name.
        snapshots: the text of each entry under `ir/`, by full name.
    """

    manifest: Manifest
    weights: Blob
    code: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    snapshots: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def nbytes(self) -> int:
        """Bytes of weights and code."""
        return self.weights.nbytes + sum(map(len, self.code.values()))


def write(engine: EngineFile, path: str | os.PathLike[str]) -> None:
    """Write `engine` to `path`, all or nothing.

    Raises:
        EngineFileError: the file cannot be written.
    """
    try:
        with replacing(path) as file:
            write_to(engine, file)
    except OSError as error:
        raise EngineFileError(
            f"cannot write the engine: {error.strerror or error}",
            where=str(path),
            fix="choose a folder that exists, with enough free space, and is writable",
        ) from None


def to_bytes(engine: EngineFile) -> bytes:
    """The bytes that `write` would put into a file."""
    buffer = io.BytesIO()
    write_to(engine, buffer)
    return buffer.getvalue()


def write_to(engine: EngineFile, file: IO[bytes]) -> None:
    """Write `engine` into an open, seekable file."""
    entries: dict[str, Any] = {
        WEIGHTS: engine.weights.data,
        **{name: engine.code[name] for name in sorted(engine.code)},
        **{name: engine.snapshots[name].encode() for name in sorted(engine.snapshots)},
    }
    infos = {
        name: FileInfo(len(data), hashlib.sha256(data).hexdigest())
        for name, data in entries.items()
    }
    text = _manifest_text(replace(engine.manifest, files=infos))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = hashlib.sha256(text).hexdigest().encode()
        for name, data in ((MANIFEST, text), *entries.items()):
            _write_entry(archive, name, data)


def read(path: str | os.PathLike[str]) -> EngineFile:
    """Check the file at `path` from end to end, then map it.

    Raises:
        EngineFileError: no such file, damage, another schema.
    """
    try:
        with open(path, "rb") as file:
            return _read_from(file, str(path))
    except OSError as error:
        raise EngineFileError(
            f"cannot read the engine: {error.strerror or error}", where=str(path)
        ) from None


def from_bytes(data: bytes) -> EngineFile:
    """The engine whose file is `data`. Raises `EngineFileError` as `read` does."""
    return _read_from(io.BytesIO(data), "engine in memory")


def _manifest_text(manifest: Manifest) -> bytes:
    record = {"format": FORMAT, "schema": SCHEMA, **encode(manifest)}
    text = json.dumps(record, separators=(",", ":"), allow_nan=True)
    return text.encode()


def _write_entry(archive: zipfile.ZipFile, name: str, data: Any) -> None:
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.external_attr = 0o644 << 16
    if name == WEIGHTS:
        info.extra = _padding(cast("IO[bytes]", archive.fp).tell(), name, len(data))
    info.file_size = len(data)
    with archive.open(info, "w") as entry:
        for start in range(0, len(data), _CHUNK):
            entry.write(data[start : start + _CHUNK])


def _padding(offset: int, name: str, size: int) -> bytes:
    """The extra field that aligns the data of an entry written at `offset`."""
    zip64 = 20 if size * 1.05 > zipfile.ZIP64_LIMIT else 0  # as zipfile decides
    start = offset + _LOCAL_HEADER + len(name) + zip64 + 4
    length = -start % WEIGHT_ALIGNMENT
    return struct.pack("<HH", _ALIGNMENT_FIELD, length) + bytes(length)


def _read_from(file: IO[bytes], where: str) -> EngineFile:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, file)
    except StepwellError as error:
        raise EngineFileError(
            error.summary, notes=error.notes, where=where, fix=error.fix
        ) from None
    # What zipfile and json raise on damaged input is not documented to be less.
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OverflowError,
        EOFError,
        struct.error,
        KeyError,
        IndexError,
    ) as error:
        raise EngineFileError(
            "expected a Stepwell engine, got a damaged file or another kind of file",
            notes=[f"{type(error).__name__}: {error}"],
            where=where,
        ) from None


def _read_archive(archive: zipfile.ZipFile, file: IO[bytes]) -> EngineFile:
    entries = _entries(archive, _length(file))
    manifest = _read_manifest(archive, entries)
    expected = {MANIFEST, *manifest.files}
    if entries.keys() != expected:
        raise EngineFileError(
            f"expected the entries {sorted(expected)}, got {sorted(entries)}"[:2000]
        )
    contents: dict[str, bytes] = {}
    for name, info in manifest.files.items():
        kept = name != WEIGHTS
        data = _verified(archive, entries[name], info, keep=kept)
        contents[name] = data
    verify_manifest(manifest, manifest.files[WEIGHTS].nbytes)
    code = manifest.code
    for name in () if code is None else (code.object, code.fallback):
        if name and name not in contents:
            raise EngineFileError(f"expected an entry {name!r}, got none")
    return EngineFile(
        manifest,
        _map(file, entries[WEIGHTS]),
        {n: data for n, data in contents.items() if n.startswith("kernels/")},
        {n: d.decode() for n, d in contents.items() if n.startswith("ir/")},
    )


def _entries(archive: zipfile.ZipFile, length: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name: stored, plainly named, none twice, none beyond the file."""
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise EngineFileError(f"expected at most {MAX_ENTRIES} entries in the file")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if not _NAME.fullmatch(info.filename) or ".." in info.filename:
            raise EngineFileError(f"expected a plain entry, got {info.filename!r}")
        if info.filename in entries:
            raise EngineFileError(f"expected one entry {info.filename!r}, got two")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
            raise EngineFileError(f"expected {info.filename!r} stored as it is")
        fits = info.header_offset + info.file_size <= length
        if info.file_size != info.compress_size or not fits:
            raise EngineFileError(f"expected {info.filename!r} within the file")
        entries[info.filename] = info
    for name in (MANIFEST, WEIGHTS):
        if name not in entries:
            raise EngineFileError(f"expected an entry {name!r}, got none")
    return entries


def _read_manifest(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]
) -> Manifest:
    info = entries[MANIFEST]
    if info.file_size > MAX_MANIFEST_BYTES:
        raise EngineFileError(f"expected a manifest, got {info.file_size} B")
    text = archive.read(info)
    if hashlib.sha256(text).hexdigest().encode() != archive.comment:
        raise EngineFileError("expected the manifest's checksum, got another")
    try:
        record = json.loads(text)
    except RecursionError:
        raise EngineFileError("expected a manifest, got deep nesting") from None
    if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
        raise EngineFileError("expected a Stepwell engine's manifest")
    schema = record.pop("schema", None)
    if schema != SCHEMA:
        raise EngineFileError(
            f"expected an engine of schema {SCHEMA}, got {schema}",
            fix="build the engine again with this version of Stepwell",
        )
    return decode(Manifest, record)


def _verified(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, info: FileInfo, *, keep: bool
) -> bytes:
    """Check an entry's size and checksum; returns its bytes if they are to be kept."""
    if entry.file_size != info.nbytes:
        raise EngineFileError(
            f"expected {info.nbytes} B of {entry.filename!r}, got {entry.file_size}"
        )
    digest, kept = hashlib.sha256(), []
    for chunk in _chunks(archive, entry):
        digest.update(chunk)
        if keep:
            kept.append(chunk)
    if digest.hexdigest() != info.sha256:
        raise EngineFileError(f"expected another checksum of {entry.filename!r}")
    return b"".join(kept)


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _length(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _map(file: IO[bytes], entry: zipfile.ZipInfo) -> Blob:
    """The entry's bytes, read-only: a view of the file, or a copy if it is in memory.

    Views are aligned: `write` pads the entry, and maps start at pages.
    """
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    name_length, extra_length = struct.unpack_from("<HH", header, 26)
    start = entry.header_offset + _LOCAL_HEADER + name_length + extra_length
    if entry.file_size == 0:
        return np.zeros(0, np.uint8)
    if isinstance(file, io.BytesIO) or start % WEIGHT_ALIGNMENT:
        file.seek(start)
        return aligned(np.frombuffer(file.read(entry.file_size), np.uint8))
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, np.uint8, entry.file_size, start)


def aligned(data: Blob) -> Blob:
    """A read-only copy of `data` that starts at a multiple of 64 bytes."""
    buffer = np.empty(data.nbytes + WEIGHT_ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % WEIGHT_ALIGNMENT
    copy = buffer[start : start + data.nbytes]
    copy[:] = data
    copy.flags.writeable = False
    return copy
