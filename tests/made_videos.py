"""Videos of every kind that the tests read, made on the spot."""

import contextlib
import fractions
import pathlib

import av
import numpy as np
import pytest

REAL_CLIPS = sorted(
    path
    for path in (pathlib.Path(__file__).parents[1] / ".." / "shared" / "videos").glob("*")
    if path.suffix in (".mp4", ".avi")
)


def moving_bars(frames, height, width):
    """Frames that all differ: a bright square walks over a gradient."""
    pictures = np.zeros((frames, height, width, 3), np.uint8)
    pictures[..., 0] = np.linspace(0, 255, width)
    pictures[..., 1] = np.linspace(0, 255, height)[:, None]
    for number, picture in enumerate(pictures):
        x = 5 * number % (width - 8)
        y = 3 * number % (height - 8)
        picture[y : y + 8, x : x + 8] = 255
        picture[..., 2] = 6 * number % 256
    return pictures


def write(path, frames, codec="libx264", times=None, pix_fmt="yuv420p", muxer=None, **options):
    """Encodes frames; `times` are presentation times in hundredths of a second."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.options = {key: str(value) for key, value in options.items()}
        stream.codec_context.time_base = fractions.Fraction(1, 100)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = 4 * number if times is None else int(times[number])
            frame.time_base = fractions.Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_whole(path, errors=()):
    """The reference: every frame of the file, in the order in which the decoder gives them; it
    goes on after `errors`, as players do."""
    frames = []
    with av.open(str(path)) as container:
        # With several threads, FFmpeg conceals damage in other ways.
        container.streams.video[0].thread_count = 1
        for packet in container.demux(video=0):
            with contextlib.suppress(*errors):
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
    return np.stack(frames)


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A small h264 file with B-frames and a key frame every 12: 50 frames of 64x48."""
    path = tmp_path_factory.mktemp("video") / "bars.mp4"
    return write(path, moving_bars(50, 48, 64), g=12, bf=2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two classes of four videos; a video of class 0 is darker than any of class 1."""
    root = tmp_path_factory.mktemp("folder")
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir()
        for number in range(4):
            frames = np.full((20, 40, 56, 3), 40 + 100 * label + 10 * number, np.uint8)
            write(root / name / f"{number}.mp4", frames)
    return root
