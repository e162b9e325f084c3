"""Damage to the structure of a Matroska file is found."""

import contextlib

import av
import pytest

from keras_nonlocal.video.matroska import find_damage
from tests.made_videos import moving_bars, write


@pytest.fixture(params=["webm", "mkv", "live.mkv"])
def content(request, tmp_path):
    """Files with known sizes, with checksums too, and with sizes left open."""
    path = tmp_path / f"a.{request.param}"
    muxer = {"live": "1"} if "live" in path.name else {}
    write(path, moving_bars(24, 48, 64), "libvpx-vp9", g=6, deadline="realtime", muxer=muxer)
    return path.read_bytes()


@pytest.fixture
def find(tmp_path):
    def find(content, lost=0):
        path = tmp_path / "copy.mkv"
        path.write_bytes(content)
        places = set()
        # What is damaged may not open.
        with contextlib.suppress(av.FFmpegError), av.open(str(path)) as container:
            places = {packet.pos for packet in container.demux(video=0) if packet.size}
        with open(path, "rb") as file:
            return find_damage(file, set(sorted(places)[lost:]))

    return find


def test_whole_file_has_no_damage(content, find):
    assert find(content) is None


def test_every_truncation_is_found(content, find):
    for length in range(1, len(content), 97):
        assert find(content[:length]), length


def test_every_missing_byte_in_the_middle_is_found(content, find):
    start = content.index(b"\x1f\x43\xb6\x75")
    for place in range(start, len(content) - 200, 61):
        assert find(content[:place] + content[place + 1 :]), place


def test_truncation_is_counted(tmp_path, find):
    path = write(tmp_path / "a.webm", moving_bars(24, 48, 64), "libvpx-vp9", deadline="realtime")
    content = path.read_bytes()
    assert find(content[: len(content) // 2]) in [
        f"it is truncated, {share}% of it is there" for share in (49, 50)
    ]


def test_bytes_behind_the_end_are_nobodys(tmp_path, find):
    path = write(tmp_path / "a.webm", moving_bars(24, 48, 64), "libvpx-vp9", deadline="realtime")
    assert find(path.read_bytes() + b"more") is None


def test_clusters_of_unknown_size_end_where_another_element_begins(tmp_path, find):
    path = write(tmp_path / "a.webm", moving_bars(24, 48, 64), "libvpx-vp9", deadline="realtime")
    content = bytearray(path.read_bytes())
    size = content.index(b"\x1f\x43\xb6\x75") + 4
    assert content[size] >> 6 == 1  # two bytes wide
    content[size : size + 2] = b"\x7f\xff"
    assert find(content) is None
    middle = len(content) // 2
    assert find(content[:middle] + content[middle + 1 :]) is not None


def test_flipped_bit_is_found_by_the_checksum(tmp_path, find):
    path = write(tmp_path / "a.mkv", moving_bars(24, 48, 64), g=12)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][5]
    content = bytearray(path.read_bytes())
    content[content.index(bytes(packet)) + packet.size // 2] ^= 1
    assert find(content).startswith("it is damaged at byte ")


def test_blocks_that_give_nothing_are_found(content, find):
    assert find(content, lost=1) == "it is damaged, 1 of its 24 blocks cannot be read"
