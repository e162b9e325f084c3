"""Healthy files that few programs write give FFmpeg's frames: all of them, in order."""

import fractions
import struct

import av
import numpy as np
import pytest

from keras_nonlocal.video.open import VideoFile, probe_video
from tests.made_videos import decode_whole, moving_bars, write

PICTURES = moving_bars(40, 48, 64)
NOT_CODED = b"\x00\x00\x01\xb6\x50\x13"  # An mpeg4 picture that repeats the last one.


def remux(source, path, edit, **muxer):
    """Writes the packets of a file that `edit` returns for its own."""
    with av.open(str(source)) as container, av.open(str(path), "w", options=muxer) as made:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        copy = made.add_stream_from_template(stream)
        for packet in edit(packets):
            packet.stream = copy
            made.mux(packet)
    return path


def replaced(packet, content):
    """The packet with another content."""
    made = av.Packet(content)
    for name in ("pts", "dts", "time_base", "duration", "is_keyframe"):
        setattr(made, name, getattr(packet, name))
    return made


def edited(path, edit_list):
    """An mp4 with the edit list: (duration, media time) in seconds each."""
    source = write(path.with_name("source.mp4"), PICTURES, g=10, bf=0)
    content = bytearray(source.read_bytes())
    at = content.index(b"elst") - 4
    (size,) = struct.unpack_from(">I", content, at)
    entries = b"".join(
        struct.pack(">IiI", round(1000 * duration), round(12800 * start), 1 << 16)
        for duration, start in edit_list
    )
    box = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edit_list)) + entries
    grown = len(box) - size
    content[at : at + size] = box
    for name in (b"edts", b"trak", b"moov"):
        place = content.index(name) - 4
        (old,) = struct.unpack_from(">I", content, place)
        struct.pack_into(">I", content, place, old + grown)
    path.write_bytes(content)
    return path


def without_frames(path):
    """mpeg4 of which some packets hold no frame, as DivX and Xvid write repeated ones."""
    source = write(path.with_name("source.mp4"), PICTURES, "mpeg4", g=10, bf=0)

    def edit(packets):
        for number, packet in enumerate(packets):
            yield replaced(packet, NOT_CODED) if number in (5, 17, 26) else packet

    return remux(source, path, edit)


def packed(path):
    """mpeg4 of which a packet holds two frames, and the next one none (packed B-frames)."""
    source = write(path.with_name("source.avi"), PICTURES, "mpeg4", g=12, bf=1)

    def edit(packets):
        contents = [bytes(packet) for packet in packets]
        for number, content in enumerate(contents):
            if content[content.index(b"\x00\x00\x01\xb6") + 4] >> 6 == 2:  # a B-frame
                contents[number - 1 : number + 1] = contents[number - 1] + content, NOT_CODED
        assert contents.count(NOT_CODED) > 10
        for packet, content in zip(packets, contents, strict=True):
            packet.pts = packet.dts
            yield replaced(packet, content)

    return remux(source, path, edit)


def last_sample_empty(path):
    source = write(path.with_name("source.mp4"), PICTURES, bf=0)
    content = bytearray(source.read_bytes())
    last = content.index(b"stsz") + 16 + 4 * (len(PICTURES) - 1)
    content[last : last + 4] = bytes(4)
    path.write_bytes(content)
    return path


def joined(path):
    source = write(path.with_name("source.ts"), PICTURES, g=12)
    path.write_bytes(2 * source.read_bytes())
    return path


def of_a_pipe(path):
    class Pipe:
        content = b""

        def write(self, content):
            self.content += content
            return len(content)

    pipe = Pipe()
    with av.open(pipe, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for picture in PICTURES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(pipe.content)
    return path


def without_list(path):
    source = write(path.with_name("source.avi"), PICTURES, "mpeg4", g=10)
    path.write_bytes(source.read_bytes().partition(b"idx1")[0])
    return path


def late_sound(path):
    """A program stream that FFmpeg finds to hold sound only after five megabytes."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 480, 640, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"qmax": "2", "g": "6"})
        stream.height, stream.width, stream.pix_fmt = 480, 640, "yuv420p"
        stream.bit_rate = 10**8
        sound = container.add_stream("mp2", rate=44100)
        for picture in noise:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2304), np.int16), "s16", "stereo")
            frame.sample_rate, frame.pts = 44100, 44100 * 2 + 1152 * number
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def cut_before_radl(path):
    """HEVC that begins with a key frame and decodable frames that are shown before it."""
    options = "log-level=none:open-gop=0:radl=3:keyint=10:min-keyint=10:bframes=4:pools=none"
    source = write(path.with_name("source.mp4"), PICTURES, "libx265", **{"x265-params": options})

    def edit(packets):
        second = [n for n, packet in enumerate(packets) if packet.is_keyframe][1]
        assert min(packet.pts for packet in packets[second:]) < packets[second].pts
        return packets[second:]

    return remux(source, path, edit, avoid_negative_ts="make_zero")


def keys_close_together(path):
    """A second key frame within the delay of the B-frames, without an edit list."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.options = {"bf": "3", "x264-params": "b-pyramid=normal"}
        for number, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if number in (0, 2):
                frame.pict_type = av.video.frame.PictureType.I
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def unknown_element(path):
    source = write(path.with_name("source.mkv"), PICTURES, g=10)
    content = source.read_bytes()
    void, segment = content.index(b"\xec\x01"), content.index(b"\x18\x53\x80\x67")
    content = content[:void] + b"\x91" + content[void + 1 :]
    path.write_bytes(content[:segment] + b"\x4d\xbb\x81\x00" + content[segment:])
    return path


def of_ten_bits(path):
    """VP9 of ten bits, which no encoder here writes: key frames whose headers say so."""
    options = {"g": 1, "aq-mode": 0, "deadline": "realtime", "cpu-used": 8}
    source = write(path.with_name("source.webm"), PICTURES, "libvpx-vp9", **options)

    def edit(packets):
        for packet in packets:
            yield replaced(packet, with_ten_bits(bytes(packet)))

    return remux(source, path, edit)


def with_ten_bits(content):
    """A VP9 key frame of profile 0, 64 pixels wide and without segments, as one of profile 2."""
    bits = "".join(f"{byte:08b}" for byte in content[:40])
    at = 32 + 3 + 1 + 32  # after marks, sync code, color and size

    def read(width):
        nonlocal at
        at += width
        return int(bits[at - width : at], 2)

    assert not read(1)  # no other size to show
    if bits[7] == "0":  # not resilient to errors
        read(2)
    read(2 + 6 + 3)
    if read(1) and read(1):  # changes of the loop filter
        for _ in range(6):
            read(7) if read(1) else None
    read(8)
    for _ in range(3):
        read(5) if read(1) else None
    assert not read(1)  # no segments
    read(1) and read(1)  # rows of tiles
    read(16)
    header = bits[:3] + "1" + bits[4:32] + "0" + bits[32:at]
    header += "0" * (-len(header) % 8)
    made = bytes(int(header[place : place + 8], 2) for place in range(0, len(header), 8))
    return made + content[-(-at // 8) :]


def in_fields(path, first=0):
    """H.264 of which each field is a packet, as camcorders and broadcasters write it.

    Frames before number `first` are coded as frames, in one packet.
    """
    generator, units = np.random.default_rng(0), []
    sequence = [("u", 77, 8), ("u", 0, 8), ("u", 30, 8)]  # Main profile, level 3
    # 16x32 pixels, order of showing as coded, frames may be fields
    sequence += [("e", 0)] * 2 + [("e", 2), ("e", 1), ("u", 0, 1), ("e", 0), ("e", 0)]
    sequence += [("u", 0, 1), ("u", 0, 1), ("u", 1, 1), ("u", 0, 2)]
    picture = [("e", 0), ("e", 0), ("u", 0, 2), ("e", 0), ("e", 0), ("e", 0), ("u", 0, 3)]
    picture += [("e", 0)] * 3 + [("u", 0b100, 3)]
    for number in range(15):
        anew = number % 5 == 0
        if anew:
            units += [unit(0x67, sequence), unit(0x68, picture)]
        for field in range(2) if number >= first else [None]:
            begins = anew and not field
            head = [("e", 0), ("e", 7), ("e", 0), ("u", number % 5, 4)]
            head += [("u", 0, 1)] if field is None else [("u", 1, 1), ("u", field, 1)]
            head += [("e", number // 5)] if begins else []
            head += [("u", 0, 2 if begins else 1), ("e", 0), ("e", 1)]
            blocks = generator.integers(16, 236, (2 if field is None else 1, 384), np.uint8)
            units.append(unit(0x65 if begins else 0x61, head, blocks))
    source = path.with_name("source.h264")
    source.write_bytes(b"".join(units))

    def edit(packets):
        assert len(packets) == 2 * 15 - first
        time = 0
        for number, packet in enumerate(packets):
            packet.pts = packet.dts = time
            packet.duration = 2 if number < first else 1
            packet.time_base = fractions.Fraction(1, 50)
            time += packet.duration
            yield packet

    return remux(source, path, edit)


def unit(kind, fields, blocks=()):
    """A unit of H.264 of fixed ("u") and exponential ("e") numbers and raw macroblocks."""
    bits = ""
    for coding, value, *width in fields:
        coded = f"{value + 1:b}"
        bits += f"{value:0{width[0]}b}" if coding == "u" else "0" * (len(coded) - 1) + coded
    for block in blocks:
        bits += "000011010"  # a macroblock of samples
        bits += "0" * (-len(bits) % 8) + "".join(f"{value:08b}" for value in block)
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    content = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))
    for last in range(4):
        content = content.replace(bytes([0, 0, last]), bytes([0, 0, 3, last]))
    return b"\x00\x00\x00\x01" + bytes([kind]) + content


def plain(codec, **options):
    def make(path):
        return write(path, PICTURES, codec, **options)

    return make


ODD = {
    "packets-without-a-frame-mp4": ("a.mp4", without_frames),
    "packets-without-a-frame-mkv": ("a.mkv", without_frames),
    "packed-b-frames-mkv": ("a.mkv", packed),
    "packed-b-frames-mp4": ("a.mp4", packed),
    "packed-b-frames-avi": ("a.avi", packed),
    "in-fields-mp4": ("a.mp4", in_fields),
    "in-fields-mkv": ("a.mkv", in_fields),
    "in-fields-later": ("a.mp4", lambda path: in_fields(path, 10)),
    "interlaced": ("a.mp4", plain("libx264", g=10, **{"x264-params": "tff=1"})),
    "edit-from-a-key-frame": ("a.mp4", lambda p: edited(p, [(0.8, 0.8)])),
    "edit-between-key-frames": ("a.mp4", lambda p: edited(p, [(0.8, 0.52)])),
    "edit-of-several-parts": ("a.mp4", lambda p: edited(p, [(0.4, 0.8), (0.4, 0.12)])),
    "edit-with-a-gap": ("a.mp4", lambda p: edited(p, [(0.5, -1 / 12800), (0.8, 0.4)])),
    "last-sample-empty": ("a.mp4", last_sample_empty),
    "joined-transport-streams": ("a.ts", joined),
    "avi-of-a-pipe": ("a.avi", of_a_pipe),
    "avi-without-list": ("a.avi", without_list),
    "late-sound": ("a.mpg", late_sound),
    "radl-frames-first": ("a.mkv", cut_before_radl),
    "keys-close-together": ("a.mp4", keys_close_together),
    "unknown-element": ("a.mkv", unknown_element),
    "vp9-10-bit": ("a.webm", of_ten_bits),
    "qtrle": ("a.mov", plain("qtrle", pix_fmt="rgb24")),
    "svq1": ("a.mov", plain("svq1", pix_fmt="yuv410p", g=10)),
    "cineform": ("a.mov", plain("cfhd", pix_fmt="yuv422p10le")),
    "rpza": ("a.mov", plain("rpza", pix_fmt="rgb555le")),
    "msvideo1": ("a.avi", plain("msvideo1", pix_fmt="rgb555le")),
    "flashsv": ("a.flv", plain("flashsv", pix_fmt="bgr24")),
}


@pytest.mark.parametrize("name, make", ODD.values(), ids=ODD)
def test_frames_are_those_of_ffmpeg(tmp_path, name, make):
    path = make(tmp_path / name)
    whole = decode_whole(path)
    assert probe_video(path).frames == len(whole)
    np.testing.assert_array_equal(list(VideoFile(path).iterate()), whole)
    numbers = [len(whole) - 1, 0, len(whole) // 2, len(whole) // 3, len(whole) // 4]
    for number in numbers:
        frames = VideoFile(path).decode([number])
        np.testing.assert_array_equal(frames, whole[[number]], f"frame {number}")
