"""Whether a Matroska or WebM file is whole, by its structure and its checksums."""

import os
import zlib

_CLUSTER, _SEGMENT, _GROUP, _CHECKSUM, _VOID = 0x1F43B675, 0x18538067, 0xA0, 0xBF, 0xEC
_BLOCKS = {0xA3, 0xA1}  # SimpleBlock; Block, of a BlockGroup
_SEGMENT_MASTERS = {
    *(_CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B),  # SeekHead, Info, Tracks
    *(0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),  # Cues, Attachments, Chapters, Tags
}
# What the elements that are looked into may hold; most damaged numbers are none of these.
_HOLDS = {
    None: {0x1A45DFA3, _SEGMENT, _VOID},
    _SEGMENT: {*_SEGMENT_MASTERS, _CHECKSUM, _VOID},
    # EncryptedBlock, Timestamp, Position, PrevSize, SilentTracks
    _CLUSTER: {*_BLOCKS, _GROUP, 0xAF, 0xE7, 0xA7, 0xAB, 0x5854, _CHECKSUM, _VOID},
    # Duration, Reference, Priority, Additions, DiscardPadding, CodecState, Slices
    _GROUP: {*_BLOCKS, 0x9B, 0xFB, 0xFA, 0x75A1, 0x75A2, 0xA4, 0x8E, _CHECKSUM, _VOID},
}


def find_damage(file, places):
    """Returns what is wrong with a Matroska or WebM file, or `None`.

    FFmpeg, where it loses its place in one, reads on at the next cluster without a word, and the
    frames after it get other numbers. Here elements must lie end to end, and each block of the
    video must have given a packet. An unknown element is skipped if a known one follows. The
    checksums of clusters are checked, which Matroska files mostly have and WebM files never.

    Args:
        file: binary file.
        places: where the packets of the video begin.

    Reference:
        [Extensible Binary Meta Language](https://www.rfc-editor.org/rfc/rfc8794), sections 4 to
        6 and 11.3.1; [Matroska](https://www.rfc-editor.org/rfc/rfc9559), section 5.1.
    """
    length, at, blocks = file.seek(0, os.SEEK_END), 0, {}
    open_masters = [(None, length)]  # number and end of each, outermost first
    while at < length:
        parent, parent_end = open_masters[-1]
        if at == parent_end:
            open_masters.pop()
            if parent == _SEGMENT:
                break  # Whatever was appended after the video does it no harm.
            continue
        number, size, begin = _read_head(file, at)
        if parent == _CLUSTER and number in _SEGMENT_MASTERS and parent_end == open_masters[-2][1]:
            open_masters.pop()  # A cluster of unknown size ends where the next one begins.
            continue
        end = parent_end if size is None else begin + size
        known = number in _HOLDS[parent] or end == parent_end
        if known and end > length:
            return f"it is truncated, {100 * length // end}% of it is there"
        if end > parent_end or not (known or _read_head(file, end)[0] in _HOLDS[parent]):
            return f"it is damaged at byte {at}"
        if number == _CLUSTER and not _checksum_fits(file, begin, end):
            return f"it is damaged at byte {at}"
        if number in _BLOCKS:
            blocks[begin] = _read_integer(file, begin)[0]  # of the track
        if number in _HOLDS:
            open_masters.append((number, end))
        at = begin if number in _HOLDS else end
    tracks = {track for begin, track in blocks.items() if begin in places}
    lost = sum(track in tracks and begin not in places for begin, track in blocks.items())
    return f"it is damaged, {lost} of its {len(blocks)} blocks cannot be read" if lost else None


def _read_head(file, at):
    """Number and size of the element at `at` (None: not known), and where its content begins."""
    number, begin = _read_integer(file, at)
    size, begin = _read_integer(file, begin)
    # The topmost bit marks the width; it is part of a number, and none of a size.
    marker = 1 << size.bit_length() >> 1
    return number, None if size == 2 * marker - 1 else size - marker, begin


def _read_integer(file, at):
    """An integer of variable width, with the bit that marks its width, and where it ends."""
    file.seek(at)
    content = file.read(9)
    width = 9 - int.from_bytes(content[:1], "big").bit_length()
    return int.from_bytes(content[:width], "big"), at + width


def _checksum_fits(file, begin, end):
    """Whether an element's content is what its checksum says, if it begins with one."""
    file.seek(begin)
    if file.read(2) != b"\xbf\x84":
        return True
    checksum = int.from_bytes(file.read(4), "little")
    return zlib.crc32(file.read(end - begin - 6)) == checksum
