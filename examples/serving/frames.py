"""Clips of video files for the clients, and their frames as JPEG, with PyAV alone."""

import fractions
import itertools

import av
import numpy as np

# The server refuses more: `max_batch_size` of batching.txt.
CLIPS_A_REQUEST = 4


def read_clip(path, frames=8, stride=8, start=0, short_side=256):
    """Reads one clip of a video.

    Args:
        path: of the video file.
        frames: frames in the clip.
        stride: distance between them, in frames of the video.
        start: frame of the video with which the clip begins.
        short_side: pixels to which larger frames are shrunk, so that less is sent. The size from
            which the network cuts its own is the best.

    Returns:
        uint8 array `(frames, height, width, 3)`. A video that ends early begins anew.
    """
    span = (frames - 1) * stride + 1
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        decoded = list(itertools.islice(container.decode(stream), start, start + span))
    if not decoded:
        raise SystemExit(f"{path} has no frame number {start}. Lower --start.")
    width, height = decoded[0].width, decoded[0].height
    short = min(width, height)
    wanted = min(short, short_side)
    size = width * wanted // short, height * wanted // short
    return np.stack(
        [
            decoded[number % len(decoded)]
            .reformat(*size, "rgb24", interpolation="BILINEAR")
            .to_ndarray()
            for number in range(0, span, stride)
        ]
    )


def in_requests(clips):
    """Splits a list of clips into lists of as many as one request may hold."""
    starts = range(0, len(clips), CLIPS_A_REQUEST)
    return [clips[start : start + CLIPS_A_REQUEST] for start in starts]


def encode_jpeg(picture, quantizer=3):
    """Encodes a frame.

    Args:
        picture: uint8 array `(height, width, 3)`.
        quantizer: FFmpeg's scale from 1 or 2, nearly nothing lost, to 31.

    Returns:
        Bytes of a JPEG file.
    """
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", fractions.Fraction(1, 25)
    encoder.options = {"qmin": str(quantizer), "qmax": str(quantizer)}
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def add_arguments(parser):
    """Adds to a command line what says which clips are sent.

    Args:
        parser: `argparse.ArgumentParser`.
    """
    parser.add_argument("videos", nargs="+", metavar="VIDEO")
    parser.add_argument("--model", default="camera_motion", help="its name on the server")
    parser.add_argument("--frames", type=int, default=8, help="frames of a clip")
    parser.add_argument("--stride", type=int, default=8, help="frames of the video between them")
    parser.add_argument("--start", type=int, default=0, help="frame with which the clip begins")
    parser.add_argument("--short-side", type=int, default=256, help="pixels; larger ones shrink")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for the answer")


def read_clips(arguments):
    """Reads a clip of each video of the command line.

    Args:
        arguments: what the parser gave.

    Returns:
        List of uint8 arrays `(frames, height, width, 3)`.

    Raises:
        SystemExit: if a video cannot be read.
    """
    how = (arguments.frames, arguments.stride, arguments.start, arguments.short_side)
    clips = []
    for video in arguments.videos:
        try:
            clips.append(read_clip(video, *how))
        # The last, where there is sound alone.
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            raise SystemExit(f"{video} cannot be read: {error}") from error
    return clips


def show(video, names, values):
    """Prints the classes of one video.

    Args:
        video: its path.
        names: names of the top classes, or their numbers.
        values: their probabilities or scores.
    """
    print(video)
    for name, value in zip(names, values, strict=True):
        print(f"  {value:8.4f}  {name}")
