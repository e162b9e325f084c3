"""Video containers: opens one and decodes its video stream, and stops where that is damaged."""

import contextlib
import dataclasses

import av

# Decoders that meet damage paint it over, with grey or with pieces of the frame before. `explode`
# makes errors of most such cases, and frames tell the others. `aggressive` would find some more,
# but refuses what old mpeg4 encoders wrote.
_CHECKS = "crccheck+bitstream+buffer"
# FFmpeg's own decoder of VP9 takes most damage for pixels. This one, as fast and with the same
# frames, asks whether a frame used up its bytes. Not every build of FFmpeg has it.
_STRICTER_DECODERS = {"vp9": "libvpx-vp9"}
# Transport and program streams may be cut anywhere, and begin with frames that nobody can decode.
_CUT_ANYWHERE = {"mpegts", "mpeg"}
# Demuxers that take a picture for a video of one frame, and any text for a film of letters.
_NO_VIDEOS = ("image2", "_pipe", "tty")
# Damaged titles are no reason not to see the film: so it is from PyAV 19 on in any case.
_DAMAGED_TITLES_ARE_READ = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)


@contextlib.contextmanager
def open_stream(path, strict=True, native=False):
    """Opens a file and its first video stream that moves (cover art does not), and closes it.

    Args:
        path: path of a regular file, a string.
        strict: whether everything amiss is an error. Streams cut out of longer ones refer to what
            was cut off, and need `False`; frames painted over are errors even then.
        native: whether to take FFmpeg's own decoder, which alone tells a frame's rotation, even
            where a stricter one is there.

    Returns:
        A context manager of a `VideoStream`; what PyAV raises inside it names the file.
    """
    try:
        # The prefix lets names hold colons.
        with av.open(f"file:{path}", **_DAMAGED_TITLES_ARE_READ) as container:
            if any(name in container.format.name for name in _NO_VIDEOS):
                raise broken_video(path, f"it is no video but {container.format.long_name}")
            still = av.stream.Disposition.attached_pic
            streams = [s for s in container.streams.video if not s.disposition & still]
            if not streams:
                raise broken_video(path, "it holds no video stream")
            if streams[0].codec_context is None:
                raise broken_video(path, "no decoder is known for its video stream")
            decoder = _choose_decoder(streams[0], native)
            # tf.data decodes several files at a time; threads inside each would only compete.
            decoder.thread_count = 1
            decoder.options = {"err_detect": _CHECKS + "+explode" if strict else _CHECKS}
            yield VideoStream(path, container, streams[0], decoder)
    except FileNotFoundError:
        raise missing_video(path) from None
    except PermissionError as error:
        raise PermissionError(f"The video file {path!r} must not be read by this user.") from error
    except av.FFmpegError as error:
        raise broken_video(path, error.strerror) from error


def _choose_decoder(stream, native):
    name = _STRICTER_DECODERS.get(stream.codec_context.name)
    if native or name not in av.codecs_available:
        return stream.codec_context
    decoder = av.CodecContext.create(name, "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


@dataclasses.dataclass
class VideoStream:
    """The video stream of an open file, with the decoder that reads it."""

    path: str
    container: av.container.InputContainer
    stream: av.video.stream.VideoStream
    decoder: av.CodecContext

    def decode(self, start=None):
        """Yields frames in the order of showing.

        Args:
            start: time stamp of the first frame to give, at which decoding can begin; `None` goes
                on from where the stream stands. Frames shown before it may follow it in the file
                and refer to others that were not read: they are left out.

        Raises:
            ValueError: at a frame that is damaged.
        """
        if start is not None:
            self.container.seek(start, stream=self.stream)
            self.decoder.flush_buffers()
        cut_anywhere = self.container.format.name in _CUT_ANYWHERE
        begun, discarded, given = not cut_anywhere, False, False
        for packet in self.container.demux(self.stream):
            begun = begun or packet.is_keyframe
            if packet.size and not begun:
                continue
            discarded = discarded or packet.is_discard
            early = start is not None and packet.pts is not None and packet.pts < start
            try:
                frames = self.decoder.decode(packet)
            except av.error.InvalidDataError as error:
                if (early or (cut_anywhere and not given)) and not packet.is_keyframe:
                    continue
                raise broken_video(self.path, "it is damaged") from error
            for frame in frames:
                if start is not None and frame.pts is not None and frame.pts < start:
                    continue
                if frame.is_corrupt or not (given or discarded or self._can_begin(frame)):
                    raise broken_video(self.path, "it is damaged")
                given = True
                yield frame

    def _can_begin(self, frame):
        # An index that is damaged may name others. The stricter decoders refuse those, and leave
        # the mark out.
        return frame.key_frame or self.decoder is not self.stream.codec_context


def broken_video(path, reason):
    """Makes the error for a video that cannot be read."""
    return ValueError(
        f"The video file {path!r} cannot be read: {reason}. "
        "Leave it out, or copy it anew from where it came."
    )


def missing_video(path):
    """Makes the error for a video that is not there."""
    return FileNotFoundError(f"There is no video file {path!r}. Give the path of an existing file.")
