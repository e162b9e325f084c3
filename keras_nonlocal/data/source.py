"""Random access to the clips of a list of videos. NumPy only: no TensorFlow."""

import operator

import numpy as np

from keras_nonlocal.lists.video_list import check_video_list
from keras_nonlocal.video.info import VideoInfo
from keras_nonlocal.video.open import open_video, probe_video
from keras_nonlocal.video.pyav import empty_pictures, resize_frames


class ClipSource:
    """Random access to clips: `len(source)`, and `source[index]` for the frames and the label.

    It feeds Grain, a PyTorch `DataLoader` or a loop alike; `training_clips` and `evaluation_clips`
    are built on it.

    Args:
        videos: a `VideoList`.
        sampler: chooses the frames of the clips, such as `RandomClipSampler("8x8")`.
        size: int or pair `(height, width)`, cut out of the frames; `None` keeps all of them.
        scale: int, pixels to which the shorter side is resized before; or a pair, between which it
            is drawn. `None`: 256 for a size of 224, in proportion for others; the size of the
            video without `size`.
        num_crops: 1, or 3 for both ends of the longer side as well.
        random_crop: bool, whether to draw the place of the crop, or to take the middle.
        clip_labels: bool, whether a clip has the labels of its own time, of lists with events.
        decoder: callable from path, frame numbers and short side (pixels or `None`) to uint8
            frames `(len(indices), height, width, 3)`. Frames of another short side are resized.
            `None`: PyAV.
        probe: callable from path to the number of frames, or to a `VideoInfo`, beside a `decoder`;
            `None`: PyAV counts.
        strict: bool, whether a damaged video is an error, see `open_video`.
        seed: int, for the same clips at each access; `None` draws new ones.

    Example:

    ```python
    source = ClipSource(read_folder("videos"), RandomClipSampler("8x8"), size=224, scale=(256, 320))
    frames, label = source[0]  # uint8 (8, 224, 224, 3), int32

    loader = torch.utils.data.DataLoader(source, batch_size=8, shuffle=True, num_workers=4)

    # Grain draws the seeds itself, so that each epoch brings other clips, and the same ones again.
    clips = grain.MapDataset.range(len(source)).seed(1).shuffle().repeat()
    clips = clips.random_map(source.sample).batch(8)
    ```
    """

    def __init__(
        self,
        videos,
        sampler,
        size=None,
        scale=None,
        num_crops=1,
        random_crop=False,
        clip_labels=False,
        decoder=None,
        probe=None,
        strict=True,
        seed=None,
    ):
        if not all(hasattr(sampler, name) for name in ("clips", "frames", "__call__")):
            raise ValueError(
                "`sampler` must choose the frames of clips, as `UniformClipSampler` does. "
                f"Received: sampler={sampler!r}. Pass for example RandomClipSampler('8x8')."
            )
        check_video_list(videos)
        if len(videos) == 0:
            raise ValueError(
                "`videos` must hold at least one video. Received: an empty list. Look at what was "
                "read by len(videos)."
            )
        if probe is not None and decoder is None:
            raise ValueError(
                "`probe` goes with `decoder`. Received: a probe alone. Pass the decoder too, or "
                "leave out the probe: PyAV counts frames itself."
            )
        if num_crops not in (1, 3) or (num_crops == 3 and (random_crop or size is None)):
            raise ValueError(
                "`num_crops` must be 1, or 3 (both ends as well) beside `size` and without "
                f"`random_crop`. Received: num_crops={num_crops}, size={size}. Raise the clips of "
                "the sampler for more views."
            )
        if clip_labels and videos.events is None:
            raise ValueError(
                "`clip_labels` needs a list that tells when its classes happen. Received: a list "
                "without `events`. `read_charades` gives one with them."
            )
        self.videos = videos
        self.sampler = sampler
        self.size = None if size is None else check_size(size)
        self.scale = check_scale(scale, self.size)
        self.num_crops = num_crops
        self.random_crop = random_crop
        self.clip_labels = clip_labels
        self.decoder = decoder
        self.probe = probe
        self.strict = strict
        self.seed = seed

    def __len__(self):
        return len(self.videos)

    def __getitem__(self, index):
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"`index` must be below {len(self)}. Received: index={index}.")
        number %= len(self)
        entropy = None if self.seed is None else (self.seed, number)
        return self.sample(number, np.random.default_rng(entropy))

    def sample(self, index, generator):
        """Returns a clip whose place in time and space a generator draws.

        Args:
            index: int, from 0.
            generator: a `numpy.random.Generator`.

        Returns:
            Frames, uint8 `(frames, height, width, 3)`, or `(views, frames, height, width, 3)` of
            several clips or crops, the crops of the first clip first; and the label.

        Raises:
            ValueError: if the video cannot be read. The message has its path.
        """
        frames, labels = self.read(index, generator)
        return (frames if len(frames) > 1 else frames[0]), labels[0]

    def read(self, index, generator):
        """Returns all views of a video, and the label of each clip, one more axis than `sample`."""
        path = self.videos.paths[index]
        try:
            return self._read(index, generator)
        # Of any type: decoders of other libraries raise what they like.
        except Exception as error:
            if isinstance(error, (OSError, ValueError)) and repr(path) in str(error):
                raise
            what = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: "
            raise ValueError(f"The video {path!r} cannot be read: {what}{error}") from error

    def choose_frames(self, index, video, generator):
        """Returns the frame numbers of each clip of an open video, inside its segment."""
        first, stop = self._find_segment(index, video)
        times = video.times
        if times is not None:
            times = times[first:stop] - times[first]
        return first + self.sampler(stop - first, video.info.fps, generator, times)

    def _read(self, index, generator):
        video = self._open(index)
        indices = self.choose_frames(index, video, generator)
        low, high = self.scale
        short_side = None if low is None else int(generator.integers(low, high + 1))
        labels = np.stack([self.videos.labels[index]] * len(indices))
        if self.clip_labels:
            labels = np.stack([self._label_clip(index, clip, video) for clip in indices])
        frames = video.decode(indices.reshape(-1), short_side)
        frames = frames.reshape(*indices.shape, *frames.shape[1:])
        return self._crop(frames, generator), labels

    def _open(self, index):
        path = self.videos.paths[index]
        if self.decoder is not None:
            return _DecodedVideo(path, self.decoder, self.probe)
        expected = self.videos.num_frames
        frames = 0 if expected is None else int(expected[index])
        return open_video(path, frames, self.videos.fps, self.strict)

    def _find_segment(self, index, video):
        """Returns the first frame of a video that may be used, and the one after the last."""
        if self.videos.segments is None:
            return 0, video.info.frames
        edges = self._edges(index, video, "segments")
        start, end = self.videos.segments[index].tolist()
        # A frame is used that begins to be shown within.
        first, stop = (int(i) for i in np.searchsorted(edges[:-1], (start, end)))
        if first == stop:
            raise ValueError(
                f"A segment must hold a frame of its video. Received: {(start, end)} in "
                f"{self.videos.time_unit} of {self.videos.paths[index]!r}, which ends at "
                f"{edges[-1]:g}."
            )
        return first, stop

    def _edges(self, index, video, purpose):
        """Returns when each frame begins and the last one ends, in the unit of the list."""
        info = video.info
        if self.videos.time_unit == "frames":
            return np.arange(info.frames + 1.0)
        if video.times is not None:
            return np.append(video.times, info.duration)
        if not info.fps:
            raise ValueError(
                f"`{purpose}` in seconds need the frames per second of "
                f"{self.videos.paths[index]!r}, which are unknown. Give folders of frames their "
                "rate by `VideoList(fps=...)`."
            )
        return np.arange(info.frames + 1) / info.fps

    def _crop(self, frames, generator):
        if self.size is None or (frames.shape[2:4] == self.size and self.num_crops == 1):
            return frames
        sides = np.array(frames.shape[2:4])
        room = sides - self.size
        if room.min() < 0:
            raise ValueError(
                f"`size` must not exceed the resized frames {tuple(sides.tolist())}. Received: "
                f"size={self.size}. Lower `size` or raise `scale`."
            )
        middle = room // 2
        starts = [generator.integers(room + 1) if self.random_crop else middle]
        if self.num_crops == 3:
            # The shorter side keeps its middle. Equal steps, as the authors' reader and MMAction2
            # take: a last odd pixel stays outside.
            along = np.array([room[0] > room[1], room[0] <= room[1]])
            starts = [middle - along * middle, middle, middle + along * middle]
        height, width = self.size
        shape = (len(frames), len(starts), frames.shape[1], height, width, 3)
        views = empty_pictures((len(frames) * len(starts), *shape[2:]))
        each = views.reshape(shape)
        for number, (top, left) in enumerate(starts):
            each[:, number] = frames[:, :, top : top + height, left : left + width]
        return views

    def _label_clip(self, index, indices, video):
        """Returns the classes of the events between the clip's first and last frame."""
        edges = self._edges(index, video, "events")
        first, last = edges[indices.min()], edges[indices.max() + 1]
        label = np.zeros_like(self.videos.labels[index])
        for event, start, end in self.videos.events[index]:
            label[event] = max(label[event], start < last and end > first)
        return label


def check_size(size):
    """Returns `size` as `(height, width)`, or raises unless it is an int or a pair of ints."""
    pair = (size, size) if np.ndim(size) == 0 else tuple(size)
    if len(pair) != 2 or not all(_is_count(side) for side in pair):
        raise ValueError(
            "`size` must be a positive number of pixels, or a pair (height, width). "
            f"Received: size={size!r}. The published networks take 224."
        )
    return int(pair[0]), int(pair[1])


def check_scale(scale, size):
    """Returns the smallest and the greatest short side, or raises unless crops may fit."""
    if scale is None:
        side = None if size is None else round(max(size) * 256 / 224)
        return side, side
    pair = (scale, scale) if np.ndim(scale) == 0 else tuple(scale)
    if len(pair) != 2 or not all(map(_is_count, pair)) or pair[0] > pair[1]:
        raise ValueError(
            "`scale` must be a positive number of pixels, or a pair of the smaller and the greater "
            f"one. Received: scale={scale!r}. The authors draw from (256, 320)."
        )
    if size is not None and min(size) > pair[0]:
        raise ValueError(
            f"`size` must not exceed the resized short side ({pair[0]}). Received: size={size}. "
            "Lower `size` or raise `scale`."
        )
    return int(pair[0]), int(pair[1])


def check_count(name, value):
    """Raises a `ValueError` unless an argument is a positive integer."""
    if not _is_count(value):
        raise ValueError(f"`{name}` must be an integer from 1. Received: {name}={value!r}.")


def check_share(name, value):
    """Raises a `ValueError` unless an argument is a share."""
    if not 0 <= value <= 1:
        raise ValueError(
            f"`{name}` must be a share between 0 and 1. Received: {name}={value}. 0.05 allows 5 % "
            "unreadable videos."
        )


def _is_count(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 0


class _DecodedVideo:
    """An open video whose frames come from functions of the user's."""

    # No rate is known to vary.
    times = None

    def __init__(self, path, decoder, probe):
        self.path = path
        self.decoder = decoder
        self.probe = probe_video if probe is None else probe

    @property
    def info(self):
        info = self.probe(self.path)
        if isinstance(info, VideoInfo):
            return info
        if not isinstance(info, (int, np.integer)):
            raise ValueError(
                "`probe` must return the number of frames, or a `VideoInfo`. "
                f"Received: {info!r} for {self.path!r}."
            )
        return VideoInfo(int(info), fps=0.0, height=0, width=0, codec="", duration=0.0)

    def decode(self, indices, short_side=None):
        frames = np.asarray(self.decoder(self.path, np.asarray(indices), short_side))
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[::3] != (len(indices), 3):
            raise ValueError(
                f"`decoder` must return uint8 frames of shape ({len(indices)}, height, width, 3). "
                f"Received: {frames.dtype} of shape {frames.shape} for {self.path!r}. Frames are "
                "RGB, channels last."
            )
        return resize_frames(frames, short_side)
