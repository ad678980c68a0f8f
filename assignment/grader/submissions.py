"""
What was handed in: a folder or an archive, packed in whatever way. The files are looked for at any
depth, also in an archive that lies in a folder or in another archive. Nothing else is taken.
"""

import gzip
import io
import os
import tarfile
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

from grader import table
from grader.sandbox import one_line

LARGEST = 5_000_000  # bytes of a file that is taken
LARGEST_ARCHIVE = 100_000_000  # of all that is unpacked of a submission, and of a .tar.gz
DEEPEST, MOST = 3, 100  # archives in archives; files that bear one of the names
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
EXPERIMENT = tuple(f"{table.EXPERIMENT}/{name}" for name in table.OF_E6)
NAMES = (*table.SUBMITTED, *EXPERIMENT)


def is_one(path):
    return path.is_dir() or is_archive(path.name)


def is_archive(name):
    return name.lower().endswith(ARCHIVES)


def read(path):
    """{name: bytes} of the files that are taken, and some lines on what was found and missing."""
    look = Look()
    if path.is_dir():
        look.at(in_folder(path))
    else:
        look.at_archive(path.name, lambda: open(path, "rb"))
    taken, lines = {}, []
    in_one_folder = Counter(folder_of(place) for place in look.found)
    for name in NAMES:
        places = [place for place in look.found if name_of(place) == name]
        places.sort(key=lambda each: (-in_one_folder[folder_of(each)], each.count("/"), each))
        if places:
            taken[name] = look.found[places[0]]
        for other in places[1:]:
            lines.append(f"{name}: {places[0]} is taken, {other} is not")
    lines.insert(0, f"found: {', '.join(taken) or 'nothing that was asked for'}")
    if missing := [name for name in NAMES if name not in taken]:
        lines.insert(1, f"missing: {', '.join(missing)}")
    if look.others:
        more = ", .." if len(look.others) > 10 else ""
        lines.append(f"not taken: {', '.join(look.others[:10])}{more}")
    return taken, "\n".join(map(one_line, lines + look.trouble))


def name_of(place):
    """The name under which a file is asked for, or "". A place is its path in the submission."""
    last = "/".join(place.split("/")[-2:])
    name = last if last in EXPERIMENT else place.split("/")[-1]
    return name if name in NAMES else ""


def folder_of(place):
    return place.removesuffix(name_of(place))


class Look:
    """A look through folders and archives, which students have made: anything can be in them."""

    def __init__(self):
        self.found = {}  # {place: bytes}
        self.left = LARGEST_ARCHIVE  # bytes that may still be read
        self.others, self.trouble = [], []

    def at(self, entries, inside="", depth=0):
        """`entries` are (path, bytes, a function that reads them)."""
        for path, size, read_it in entries:
            parts, place = path.split("/"), f"{inside}{path}"
            if any(part.startswith((".", "__")) for part in parts):  # .git, __MACOSX
                continue
            if is_archive(path) and depth < DEEPEST and size <= self.left:
                self.left -= size
                self.at_archive(place, lambda: io.BytesIO(read_it()), depth + 1)
            elif not name_of(place):
                self.others.append(place)
            elif size > min(LARGEST, self.left) or len(self.found) == MOST:
                self.trouble.append(f"{place} is larger than 5 MB, or one of too many")
            else:
                self.left -= size
                try:
                    self.found[place] = read_it()
                except Exception as error:
                    self.cannot_read(place, error)

    def at_archive(self, place, open_it, depth=0):
        try:
            with open_it() as file:
                list_it = in_zip if place.lower().endswith(".zip") else in_tar
                self.at(list_it(file), f"{place}/", depth)
        except Exception as error:
            self.cannot_read(place, error)

    def cannot_read(self, place, error):
        self.trouble.append(f"{place} cannot be read ({type(error).__name__})")


def in_folder(folder):
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in sorted(folders) if not name.startswith((".", "__"))]
        for path in (Path(top, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path.stat().st_size, path.read_bytes


def in_zip(file):
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            path = member.filename.replace("\\", "/").strip("/")
            if not member.is_dir():
                yield path, member.file_size, lambda: archive.read(member)


def in_tar(file):
    content = file.read(LARGEST_ARCHIVE + 1)
    if content.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(content)) as packed:
            content = packed.read(LARGEST_ARCHIVE + 1)
    if len(content) > LARGEST_ARCHIVE:
        raise ValueError
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            if member.isfile():
                path = str(PurePosixPath(member.name))
                yield path, member.size, lambda: archive.extractfile(member).read()
