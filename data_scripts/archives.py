"""Lay out archives that the user has downloaded: verified, extracted safely, resumable.

Nothing is downloaded here: the owners ask for a click on their licence, and get it.

An archive is extracted into a hidden folder beside the target, named by the archive's own SHA-256,
and what it holds is renamed into place when all of it is there. Interrupted, the next call goes on
where this one stopped. A hostile or damaged archive leaves nothing behind. Refused are absolute
paths, `..`, drives and backslashes, links, devices and anything else that is no file or folder,
names that come twice, encryption, and more data than such an archive can hold.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from an uninstalled checkout

from comet_core.errors import InputError

MAX_FILES = 200_000
MAX_RATIO, FREE_BYTES = 20, 64 << 20
"""Images hardly compress: more than 20 times the archive's size, beyond 64 MB, is a bomb."""
CHUNK = 1 << 20
CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db")
DAMAGE = (
    EOFError,
    NotImplementedError,  # a way of compressing that zipfile does not know
    UnicodeError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and what is known of its archive."""

    name: str
    page: str
    licence: str
    file: str
    """File name of the published archive; its checksum is asked of no other."""
    size: int | None = None
    checksum: tuple[str, str] | None = None
    """Algorithm and hex digits."""
    provenance: str = ""
    """Who vouches for size and checksum."""

    def describe(self) -> str:
        """What a user has to know to get the archive."""
        size = f"{self.size:,} bytes" if self.size else "not known"
        checksum = " ".join(self.checksum) if self.checksum else "not known"
        note = f" ({self.provenance})" if self.provenance else ""
        return (
            f"{self.name}\n  page      {self.page}\n  licence   {self.licence}\n"
            f"  archive   {self.file}\n  size      {size}\n  checksum  {checksum}{note}"
        )


def verify(archive: Path, source: Source, any_archive: bool = False) -> str:
    """Compare an archive with what is known of it.

    Returns:
        Its SHA-256.

    Raises:
        InputError: it is missing, incomplete or another one than the published.
    """
    if not archive.is_file():
        raise InputError(f"archive '{archive}' does not exist; download it from {source.page}.")
    size = archive.stat().st_size
    known = archive.name == source.file and not any_archive
    if known and source.size and size != source.size:
        raise InputError(
            f"archive '{archive}' has {size:,} bytes, not {source.size:,}; download it again, or "
            "accept it with --any-archive."
        )
    algorithm, expected = source.checksum or ("sha256", "")
    digests = {name: hashlib.new(name) for name in {"sha256", algorithm}}
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            for digest in digests.values():
                digest.update(chunk)
    if known and expected and digests[algorithm].hexdigest() != expected:
        raise InputError(
            f"archive '{archive}' has the {algorithm} {digests[algorithm].hexdigest()}, not "
            f"{expected}; download it again, or accept it with --any-archive."
        )
    return digests["sha256"].hexdigest()


def extract(archive: Path, target: Path) -> None:
    """Extract a tar (plain, gzip, bzip2, xz) or zip archive into a folder.

    Files that are already there are complete and are not written again.

    Raises:
        InputError: the archive is hostile, damaged or of no known format.
    """
    limit = FREE_BYTES + MAX_RATIO * archive.stat().st_size
    seen: set[str] = set()
    try:
        members = _zip if zipfile.is_zipfile(archive) else _tar
        for name, size, content in members(archive, limit):
            parts = _safe_parts(name, archive)
            if parts[0] in CLUTTER or parts[-1] in CLUTTER or parts[-1].startswith("._"):
                continue
            path = target.joinpath(*parts)
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            key = "/".join(parts).casefold()  # some file systems do not tell cases apart
            if key in seen or len(seen) >= MAX_FILES:
                problem = "twice" if key in seen else f"beyond the {MAX_FILES:,} files allowed"
                raise InputError(f"archive '{archive}' holds '{name}' {problem}; do not use it.")
            seen.add(key)
            if not (path.is_file() and path.stat().st_size == size):
                _write(path, content(), size, archive)
    except tarfile.TarError as error:
        raise InputError(
            f"'{archive}' is no tar or zip archive, or is damaged ({error}); download it again."
        ) from None
    except DAMAGE as error:
        raise InputError(
            f"archive '{archive}' is damaged or incomplete ({error}); download it again."
        ) from None
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"archive '{archive}' holds '{error.filename}' as file and folder; do not use it."
        ) from None
    except OSError as error:
        if error.errno is not None:  # the disk's fault, not the archive's: resumable
            raise
        raise InputError(f"archive '{archive}' is damaged ({error}); download it again.") from None


def _safe_parts(name: str, archive: Path) -> list[str]:
    """The parts of a member's path, if it stays inside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    hostile = (
        not parts
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or re.match(r"[A-Za-z]:", name)
        or any(ord(character) < 32 for character in name)
    )
    if hostile:
        raise InputError(f"archive '{archive}' holds the unsafe path {name!r}; do not use it.")
    return parts


Member = tuple[str, int, Callable[[], IO[bytes]] | None]


def _tar(archive: Path, limit: int) -> Iterator[Member]:
    """Members of a tar archive, in order: name, size, and a way to read it (None: a folder)."""
    with contextlib.ExitStack() as stack:
        plain: Any = _Capped(stack.enter_context(_decompressed(archive)), limit, archive)
        with tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                if member.name.strip("/") in ("", ".") and member.isdir():
                    continue
                if not (member.isdir() or member.isfile()) or member.issparse():
                    raise InputError(
                        f"archive '{archive}' holds '{member.name}', which is neither a file nor a "
                        "folder; do not use it."
                    )
                if hasattr(tarfile, "data_filter"):
                    _safe_parts(member.name, archive)
                    tarfile.data_filter(member, os.fspath(archive.parent))
                yield member.name, member.size, None if member.isdir() else _reader(tar, member)
        while plain.read(CHUNK):  # to the end, where the checksum of a compressed stream stands
            pass


def _reader(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: tar.extractfile(member) or io.BytesIO()


def _decompressed(archive: Path) -> Any:
    with archive.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.open(archive)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(archive)
    if magic.startswith(b"BZh"):
        return bz2.open(archive)
    return archive.open("rb")


class _Capped:
    """A stream that ends in an error where a bomb would go off."""

    def __init__(self, stream: IO[bytes], limit: int, archive: Path) -> None:
        self.stream, self.left, self.archive = stream, limit, archive

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise _bomb(self.archive)
        return data


def _bomb(archive: Path) -> InputError:
    return InputError(
        f"archive '{archive}' expands to more than {MAX_RATIO} times its size; do not use it."
    )


def _zip(archive: Path, limit: int) -> Iterator[Member]:
    """Members of a zip archive, in order: name, size, and a way to read it (None: a folder)."""
    with zipfile.ZipFile(archive) as file:
        infos = file.infolist()
        if sum(info.file_size for info in infos) > limit:
            raise _bomb(archive)
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1 or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                problem = "is encrypted" if info.flag_bits & 1 else "is neither file nor folder"
                raise InputError(
                    f"archive '{archive}' holds '{info.filename}', which {problem}; do not use it."
                )
        for info in infos:
            content = None if info.is_dir() else (lambda info=info: file.open(info))
            yield info.filename, info.file_size, content


def _write(path: Path, content: IO[bytes], size: int, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    written = 0
    with content, unfinished.open("wb") as file:
        while chunk := content.read(CHUNK):
            written += len(chunk)
            file.write(chunk)
    if written != size:
        unfinished.unlink()
        raise InputError(
            f"archive '{archive}' is incomplete: '{path.name}' has {written:,} of {size:,} bytes; "
            "download it again."
        )
    unfinished.replace(path)


def lay_out(
    archives: Sequence[Path],
    out: Path,
    source: Source,
    place: Callable[[Path, Path], None],
    any_archive: bool = False,
) -> None:
    """Verify, extract and put into place each archive.

    Args:
        archives: files.
        out: the data set's folder.
        source: what is known of the archives.
        place: moves what it wants from an extracted folder into `out`.
        any_archive: accept an archive of another size or checksum.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        digest = verify(archive, source, any_archive)
        print(f"{archive.name}: sha256 {digest}", flush=True)
        stage = out.parent / f".{out.name}.{digest[:12]}.partial"
        try:
            extract(archive, stage)
            place(stage, out)
        except InputError:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        shutil.rmtree(stage, ignore_errors=True)


def command(
    source: Source,
    default_out: str,
    place: Callable[[Path, Path], None],
    check: Callable[[Path], list[str]],
    arguments: Sequence[str] | None = None,
) -> int:
    """The command line that the get scripts share.

    Returns:
        Exit status: 0 everything is there, 1 something is missing, 2 bad input, 130 interrupted.
    """
    parser = argparse.ArgumentParser(
        description=f"Lay out {source.name} from archives that you have downloaded, and check it.",
        epilog=source.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--archive", type=Path, nargs="+", default=[], help="downloaded archives")
    parser.add_argument("--out", type=Path, default=Path(default_out), help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="compare --out with the known counts")
    parser.add_argument(
        "--any-archive", action="store_true", help="accept another size or checksum"
    )
    given: Any = parser.parse_args(arguments)
    if not given.archive and not given.check:
        print(f"{source.describe()}\n\nDownload it there, then give it with --archive.")
        return 2
    try:
        lay_out(given.archive, given.out, source, place, given.any_archive)
        problems = check(given.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error}; free the way and run the same command to go on.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command to go on.", file=sys.stderr)
        return 130
    for problem in problems:
        print(f"missing: {problem}", file=sys.stderr)
    print(f"{given.out}: {f'{len(problems)} problems' if problems else 'complete'}")
    return 1 if problems else 0


def folders_with(root: Path, wanted: Callable[[Path], bool], depth: int = 3) -> list[Path]:
    """The topmost folders below `root`, itself included, for which `wanted`."""
    if wanted(root):
        return [root]
    if depth == 0 or not root.is_dir():
        return []
    below = sorted(path for path in root.iterdir() if path.is_dir())
    return [found for path in below for found in folders_with(path, wanted, depth - 1)]


def move_in(folder: Path, target: Path) -> None:
    """Rename a folder into place, in one step.

    Raises:
        InputError: something is there already.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    if target.exists():
        raise InputError(f"'{target}' exists and is not complete; move it away and run this again.")
    folder.rename(target)
