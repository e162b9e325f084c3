"""Whether a Matroska or WebM file is whole, by its structure and its checksums."""

import mmap
import zlib

# What each element that is looked into may hold: a damaged number is most often none of these.
_CLUSTER, _SEGMENT, _CHECKSUM, _VOID = 0x1F43B675, 0x18538067, 0xBF, 0xEC
_FILE = {0x1A45DFA3, _SEGMENT, _VOID}
_SEGMENT_MASTERS = {
    *(_CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B),  # SeekHead, Info, Tracks
    *(0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),  # Cues, Attachments, Chapters, Tags
}
_BLOCKS = {0xA3, 0xA0, 0xAF}  # SimpleBlock, BlockGroup, EncryptedBlock
_HOLDS = {
    _SEGMENT: {*_SEGMENT_MASTERS, _CHECKSUM, _VOID},
    # Timestamp, Position, PrevSize, SilentTracks
    _CLUSTER: {*_BLOCKS, 0xE7, 0xA7, 0xAB, 0x5854, _CHECKSUM, _VOID},
}


def find_damage(path, num_packets):
    """Says what is wrong with a Matroska or WebM file.

    FFmpeg, where it loses its place in one, looks for the next cluster and reads on in silence,
    frames missing. Here elements (number, size, content) must lie end to end, every block must
    have given a packet, and a checksum, which Matroska files mostly have and WebM files never,
    must be that of its element. Damage inside a frame of a file without checksums does not show.

    Args:
        path: path of the file.
        num_packets: how many packets FFmpeg reads from the file, of all its streams.

    Returns:
        A string such as `"it is truncated, 80% of it is there"`, or `None`.

    Reference:
        [Extensible Binary Meta Language](https://www.rfc-editor.org/rfc/rfc8794), sections 4 to
        6 and 11.3.1; [Matroska](https://www.rfc-editor.org/rfc/rfc9559), section 5.1.
    """
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _find_damage(content, num_packets)


def _find_damage(content, num_packets):
    at, num_blocks = 0, 0
    open_masters = [(None, len(content))]  # number and end of each, outermost first
    while at < len(content):
        parent, parent_end = open_masters[-1]
        if at == parent_end:
            open_masters.pop()
            if parent == _SEGMENT:
                break  # Whatever was appended after the video does it no harm.
            continue
        number, size, begin = _read_head(content, at)
        if parent == _CLUSTER and number in _SEGMENT_MASTERS and parent_end == open_masters[-2][1]:
            open_masters.pop()  # A cluster of unknown size ends where the next one begins.
            continue
        if number not in _HOLDS.get(parent, _FILE):
            return f"it is damaged at byte {at}"
        # Only what was written while it was recorded leaves its size unknown.
        end = parent_end if size is None else begin + size
        if end > len(content):
            return f"it is truncated, {100 * len(content) // end}% of it is there"
        if end > parent_end or not _checksum_fits(content, number, begin, end):
            return f"it is damaged at byte {at}"
        num_blocks += number in _BLOCKS
        if number in _HOLDS:
            open_masters.append((number, end))
        at = begin if number in _HOLDS else end
    # A block of sound may give several packets.
    if num_packets < num_blocks:
        return f"it is damaged, only {num_packets} of its {num_blocks} blocks can be read"
    return None


def _read_head(content, at):
    """Number and size of the element at `at` (None: not known), and where its content begins."""
    number, begin = _read_integer(content, at)
    size, begin = _read_integer(content, begin)
    # The topmost bit marks the width; it is part of a number, and none of a size.
    marker = 1 << size.bit_length() >> 1
    return number, None if size == 2 * marker - 1 else size - marker, begin


def _read_integer(content, at):
    """An integer of variable width, with the bit that marks its width, and where it ends."""
    end = at + 9 - int.from_bytes(content[at : at + 1], "big").bit_length()
    return int.from_bytes(content[at:end], "big"), end


def _checksum_fits(content, number, begin, end):
    """Whether an element's content is what its checksum says, if it begins with one."""
    if number not in _SEGMENT_MASTERS or content[begin : begin + 2] != b"\xbf\x84":
        return True
    view = memoryview(content)
    with view, view[begin + 6 : end] as covered:
        return zlib.crc32(covered) == int.from_bytes(content[begin + 2 : begin + 6], "little")
