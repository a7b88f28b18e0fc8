"""Folders as archives: what is packed comes back, and no archive writes where it must not, or without end."""

from __future__ import annotations

import gzip
import io
import os
import random
import socket
import stat
import struct
import tarfile
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nxtrack.cloud import archives
from nxtrack.errors import ArchiveRefused, TooLarge

LIMIT = 10_000_000


@pytest.fixture
def pack(tmp_path):
    """Packs a folder; gives the archive's path."""

    def run(folder, limit=LIMIT):
        with open(tmp_path / "packed.tar.gz", "wb") as file:
            archives.pack(folder, file, limit=limit)
        return tmp_path / "packed.tar.gz"

    return run


@pytest.fixture
def unpack(tmp_path):
    """Unpacks bytes; gives the folder, and checks that nothing came to be anywhere else."""
    (tmp_path / "place").mkdir()
    (tmp_path / "outside").write_text("untouched")

    def run(data, **limits):
        (tmp_path / "given.tar.gz").write_bytes(data)
        before = contents(tmp_path)
        try:
            archives.unpack(tmp_path / "given.tar.gz", tmp_path / "place" / "folder", **limits)
        except Exception:
            assert contents(tmp_path) == before
            raise
        inside = ("place/folder", *(f"place/folder/{name}" for name in contents(tmp_path / "place" / "folder")))
        assert {name: what for name, what in contents(tmp_path).items() if name not in inside} == before
        return tmp_path / "place" / "folder"

    return run


def contents(folder):
    """The files of a folder with their bytes, its folders with None, and links with where they lead."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        found[name] = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def tar(*members, squeeze=True, **more):
    """An archive of members, each a name with its bytes, or a TarInfo with them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **more) as archive:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = info.size or len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue()) if squeeze else buffer.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_a_folder_comes_back(tmp_path, pack, unpack):
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "stops.csv").write_bytes(b"a,b\r\n1,2\r\n")
    (folder / "nothing").touch()
    (folder / "deep" / "er" / ("n" * 200 + " ü.csv")).write_bytes(random.Random(1).randbytes(300_000))
    (folder / "link.csv").symlink_to("stops.csv")
    expected = contents(folder) | {"link.csv": b"a,b\r\n1,2\r\n"}
    data = pack(folder).read_bytes()
    assert contents(unpack(data)) == expected


def test_the_same_folder_makes_the_same_archive(tmp_path, pack):
    made = []
    for index, names in enumerate((["b", "a", "c"], ["c", "b", "a"])):
        folder = tmp_path / str(index)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
            (folder / name).chmod(0o600 + index)
            os.utime(folder / name, (index, index))
        made.append(pack(folder).read_bytes())
    assert made[0] == made[1]


def test_others_read_what_we_pack(tmp_path, pack):
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.csv").write_text("1")
    with tarfile.open(pack(folder), "r:gz") as archive:
        assert archive.getnames() == ["in", "in/a.csv"]
        archive.extractall(tmp_path / "theirs", filter="data")
    assert contents(tmp_path / "theirs") == contents(folder)


@pytest.mark.parametrize("leads", ["../secret", "/etc/passwd", "gone", "sub", "loop", "sub/../../secret"])
def test_a_link_that_leads_to_no_file_of_the_folder_is_refused(tmp_path, pack, leads):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "loop").symlink_to(leads)
    with pytest.raises(ArchiveRefused, match="loop is a link that leads to no file"):
        pack(tmp_path / "folder")


def test_what_is_no_file_is_refused(tmp_path, pack):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    with pytest.raises(ArchiveRefused, match="pipe is neither"):
        pack(tmp_path / "folder")
    with pytest.raises(NotADirectoryError):
        pack("/dev/null")
    with pytest.raises(FileNotFoundError):
        pack(tmp_path / "gone")


def test_an_archive_that_would_be_too_large_ends_early(tmp_path, pack):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "noise").write_bytes(random.Random(1).randbytes(3_000_000))
    with pytest.raises(TooLarge) as caught:
        pack(tmp_path / "folder", limit=1_000_000)
    assert caught.value.limit == 1_000_000
    assert (tmp_path / "packed.tar.gz").stat().st_size <= 1_000_000


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a/..",
        "..",
        "./../up",
        "//x",
        "a\nb",
        "\x1b[2J",
        "/".join("d" * 33),
        "n" * 300,
        "a/" + "n" * 300,
    ],
)
def test_paths_that_lead_out_or_astray_are_refused(unpack, name):
    with pytest.raises(ArchiveRefused):
        unpack(tar(("fine", b"1"), (name, b"2")))


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "../outside"),
        special("link", tarfile.SYMTYPE, "fine"),
        special("link", tarfile.LNKTYPE, "../outside"),
        special("link", tarfile.LNKTYPE, "fine"),
        special("pipe", tarfile.FIFOTYPE),
        special("disk", tarfile.BLKTYPE),
        special("null", tarfile.CHRTYPE),
        special("odd", b"Z"),
    ],
    ids=lambda member: f"{member[0].name} {member[0].type} {member[0].linkname}",
)
def test_links_and_devices_are_refused(unpack, member):
    with pytest.raises(ArchiveRefused, match="neither a file nor a folder"):
        unpack(tar(("fine", b"1"), member, ("link/through", b"2")))


def test_sparse_files_are_refused(unpack):
    data = bytearray(tar(("holes", b"x"), squeeze=False, format=tarfile.GNU_FORMAT))
    data[156:157] = tarfile.GNUTYPE_SPARSE
    data[386:398] = b"%011o\0" % 0
    data[398:410] = b"%011o\0" % 1
    data[483:495] = b"%011o\0" % (1 << 32)
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    with pytest.raises(ArchiveRefused, match="holes"):
        unpack(gzip.compress(bytes(data)))


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./a"), ("a/b", "a//b")], ids=" ".join)
def test_names_that_exclude_each_other_are_refused(unpack, names):
    with pytest.raises(ArchiveRefused, match="exclude each other"):
        unpack(tar(*((name, b"1") for name in names)))


def test_folders_may_be_named_twice_or_not_at_all(unpack):
    parts = (
        special("./", tarfile.DIRTYPE),
        special("a", tarfile.DIRTYPE),
        ("a/b/c", b"1"),
        special("a/", tarfile.DIRTYPE),
    )
    assert contents(unpack(tar(*parts))) == {"a": None, "a/b": None, "a/b/c": b"1"}


def test_nothing_executable_and_nothing_secret_in_modes(unpack):
    info = tarfile.TarInfo("program")
    info.mode, info.uid = 0o6777, 12345
    assert stat.S_IMODE((unpack(tar((info, b"#!/bin/sh"))) / "program").stat().st_mode) & 0o7111 == 0


def test_a_bomb_of_bytes_is_cut_off(unpack):
    data = tar(("zeros", b"\0" * 30_000_000))
    assert len(data) < 50_000
    with pytest.raises(TooLarge):
        unpack(data, limit=29_999_999)
    assert contents(unpack(data, limit=30_000_000))["zeros"] == b"\0" * 30_000_000


def test_a_bomb_behind_the_end_is_cut_off(unpack):
    with pytest.raises(TooLarge):
        unpack(gzip.compress(tar(("a", b"1"), squeeze=False) + bytes(30_000_000), 1), limit=1000, files=10)


def test_a_bomb_of_names_is_cut_off(unpack):
    names = [(f"f{number}", b"") for number in range(101)]
    with pytest.raises(ArchiveRefused, match="more than 100 files"):
        unpack(tar(*names), files=100)
    with pytest.raises(ArchiveRefused, match="more than 100 files"):
        unpack(tar(*((f"{number}/a/b/c/d/e/f/g/h/i/j/k", b"") for number in range(10))), files=100)
    assert len(contents(unpack(tar(*names[1:]), files=100))) == 100


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_bomb_in_a_header_does_not_fill_the_memory(unpack, kind):
    info = tarfile.TarInfo("header")
    info.type = kind
    data = tar((info, b"\0" * 60_000_000), ("a", b"1"), format=tarfile.GNU_FORMAT)
    tracemalloc.start()
    with pytest.raises(ArchiveRefused):
        unpack(data)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_headers_without_end_are_refused(unpack):
    info = tarfile.TarInfo("header")
    info.type = tarfile.XGLTYPE
    pax = b"11 a=bcdef\n"
    with pytest.raises(ArchiveRefused):
        unpack(tar(*([(info, pax)] * 5_000), ("a", b"1"), format=tarfile.GNU_FORMAT))


def test_a_size_below_zero_is_refused(unpack):
    info = tarfile.TarInfo("a")
    info.pax_headers = {"size": "-1024"}
    with pytest.raises(ArchiveRefused):
        unpack(tar((info, b"1" * 512), ("b", b"2"), format=tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    "data", [b"", b"no archive", gzip.compress(b"x" * 1024, mtime=0), tar(("a", b"1"), squeeze=False)]
)
def test_what_is_no_archive_is_refused(unpack, data):
    with pytest.raises(ArchiveRefused, match=r"damaged, or no .tar.gz"):
        unpack(data)


def test_a_damaged_checksum_is_found(unpack):
    """At the very end, behind all files."""
    data = bytearray(tar(("a", b"1")))
    data[-8:-4] = struct.pack("<I", struct.unpack("<I", data[-8:-4])[0] ^ 1)
    with pytest.raises(ArchiveRefused):
        unpack(bytes(data))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, unpack):
    assert contents(unpack(tar(("a", b"1")))) == {"a": b"1"}
    (tmp_path / "empty").mkdir()
    archives.unpack(tmp_path / "given.tar.gz", tmp_path / "empty")
    assert contents(tmp_path / "empty") == {"a": b"1"}
    with pytest.raises(OSError, match="not empty"):
        unpack(tar(("b", b"1")))
    with pytest.raises(NotADirectoryError):
        archives.unpack(tmp_path / "given.tar.gz", tmp_path / "outside")


def test_a_socket_in_the_folder_is_refused(tmp_path, pack, monkeypatch):
    (tmp_path / "f").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        made.bind("f/s")
        with pytest.raises(ArchiveRefused, match="neither"):
            pack(tmp_path / "f")


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
PATHS = st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=4).map("/".join)
LAW = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@LAW
@given(files=st.dictionaries(PATHS, st.binary(max_size=2000), max_size=6))
def test_what_is_packed_is_what_is_unpacked(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("law")
    (root / "folder").mkdir()
    for name, data in files.items():
        path = root / "folder" / name
        if any((root / "folder" / other).is_file() for other in path.parents) or path.is_dir():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            continue
        path.write_bytes(data)
    with open(root / "a.tar.gz", "wb") as file:
        archives.pack(root / "folder", file, limit=LIMIT)
    archives.unpack(root / "a.tar.gz", root / "back")
    assert contents(root / "back") == contents(root / "folder")


@LAW
@given(data=st.data())
def test_no_damage_writes_outside_or_raises_anything_else(tmp_path_factory, data):
    """Bytes of the tar are changed before it is compressed, so that the checksum does not tell."""
    plain = bytearray(tar(("a/b", b"1" * 600), special("c", tarfile.DIRTYPE), ("ü" * 80, b"2"), squeeze=False))
    places = st.integers(0, len(plain) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        plain[place] = byte
    for header in range(0, len(plain), 512):  # made right again, where it is one
        if plain[header + 257 : header + 262] == b"ustar":
            plain[header + 148 : header + 156] = b"        "
            plain[header + 148 : header + 156] = b"%06o\0 " % sum(plain[header : header + 512])
    cut = data.draw(st.integers(0, len(plain)) | st.none())
    root = tmp_path_factory.mktemp("law")
    (root / "a.tar.gz").write_bytes(gzip.compress(bytes(plain[:cut])))
    try:
        archives.unpack(root / "a.tar.gz", root / "back", limit=100_000)
    except (ArchiveRefused, TooLarge):
        assert os.listdir(root) == ["a.tar.gz"]
    else:
        assert sorted(os.listdir(root)) == ["a.tar.gz", "back"]
        assert all(not path.is_symlink() for path in (root / "back").rglob("*"))
