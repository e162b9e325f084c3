"""Makes videos of camera motions over real photographs.

python examples/camera_motion.py OUT [--per-class 100]

Nine classes, all named for what the camera does (the picture does the opposite):

    pan_left, pan_right   the camera looks further to the left or right; the scene slides across
                          the frame the other way
    tilt_up, tilt_down    the same, up and down
    zoom_in, zoom_out     the scene grows or shrinks about a point near the middle
    turn_left, turn_right the camera rolls: to the left is counterclockwise as its operator sees
                          it, so that the picture turns clockwise
    still                 none of these; hands may shake and things in the scene may move

The videos are h264 mp4 files. No frame alone tells a motion from its reverse. So that what is
learned holds for videos from elsewhere, speed, easing, start, scale, colours, light, shake, blur
and compression differ from video to video, and other things move through half of them. Scenes for
validation come from other photographs than those for training.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import math
import os
import pathlib

import av
import numpy as np
from PIL import Image

CLASSES = (
    "pan_left",
    "pan_right",
    "still",
    "tilt_down",
    "tilt_up",
    "turn_left",
    "turn_right",
    "zoom_in",
    "zoom_out",
)
# Files of scikit-image's wheel. The two motorcycle pictures show one scene.
PHOTOGRAPHS = {
    "train": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "cell.png",
        "clock_motion.png",
        "coins.png",
        "grass.png",
        "hubble_deep_field.jpg",
        "moon.png",
        "page.png",
        "retina.jpg",
        "rocket.jpg",
    ),
    "validation": (
        "chelsea.png",
        "coffee.png",
        "gravel.png",
        "ihc.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
    ),
}
FRAMES, HEIGHT, WIDTH = 40, 84, 112
FPS = 25
# Least and greatest speed of each motion, in pixels a frame, and the distance from the middle of
# the frame at which a zoom or a turn moves the picture so fast.
SPEEDS = {
    "pan": (0.4, 3.5),
    "tilt": (0.4, 3.0),
    "zoom": (0.4, 1.6),
    "turn": (0.4, 1.7),
    "still": (0.2, 0.3),
}
MIDDLE_DISTANCE = 35
# The scene is a mirrored plane: a picture of SCENE x SCENE pixels, reflected at its edges.
SCENE = 256
# Frames are means of this many moments, as long as a shutter is open.
MOMENTS = 2


def make_videos(directory, split, per_class, seed=0, progress=None):
    """Writes `per_class` videos of each class into folders named like the classes.

    A file that is there is left as it is, and none is ever there half written: each appears
    under its name when it is complete. The same arguments make the same videos.

    Args:
        directory: where the class folders go.
        split: `"train"` or `"validation"`, which photographs to use.
        per_class: videos of each class.
        seed: integer from which all else follows.
        progress: function of (videos done, videos in all), called after each.
    """
    directory = pathlib.Path(directory)
    photographs = load_photographs(split)
    jobs = [(name, number) for number in range(per_class) for name in CLASSES]

    def make(job):
        name, number = job
        path = directory / name / f"{number:04d}.mp4"
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        entropy = [seed, CLASSES.index(name), number, split == "train"]
        generator = np.random.default_rng(entropy)
        write_video(path, film(name, photographs, generator), int(generator.integers(18, 34)))

    # Rendering and encoding both work without Python's lock.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(make, jobs), 1):
            if progress is not None:
                progress(done, len(jobs))


@functools.cache
def load_photographs(split):
    """Opens a split's photographs."""
    from skimage import data

    folder = pathlib.Path(data.__file__).parent
    return [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS[split]]


@dataclasses.dataclass
class Path:
    """Where the camera is at each moment: pixels of the frame, logarithm of scale, radians."""

    x: np.ndarray
    y: np.ndarray
    zoom: np.ndarray
    roll: np.ndarray


def film(name, photographs, generator):
    """Films one motion over a scene of its own.

    Args:
        name: a class of `CLASSES`.
        photographs: pictures to make the scene of.
        generator: a `numpy.random.Generator`.

    Returns:
        `uint8` array `(FRAMES, HEIGHT, WIDTH, 3)`.
    """
    path = camera_path(name, generator)
    frames = look(make_scene(photographs, generator), path, (HEIGHT, WIDTH))
    if generator.random() < 0.5:
        for _ in range(generator.integers(1, 4)):
            frames = add_thing(frames, photographs, path, generator)
    # The shutter: each frame is the mean of the moments while it is open.
    frames = frames.reshape(FRAMES, MOMENTS, HEIGHT, WIDTH, 3).astype(np.float32)
    frames = frames[:, : generator.integers(1, MOMENTS + 1)].mean(1)
    # Light that changes a little, a lens that is not quite sharp, and grain.
    light = 1 + generator.normal(0, 0.04) * np.linspace(-1, 1, FRAMES) ** generator.integers(1, 3)
    frames *= light[:, None, None, None].astype(np.float32)
    if generator.random() < 0.3:
        frames = soften(frames)
    if generator.random() < 0.5:
        frames += generator.normal(0, generator.uniform(1, 5), frames.shape).astype(np.float32)
    return np.clip(frames, 0, 255).astype(np.uint8)


def camera_path(name, generator):
    """Draws a camera's path for a class: its motion, its unevenness and the shake of a hand."""
    count = FRAMES * MOMENTS
    time = np.linspace(0, FRAMES, count, endpoint=False)
    # Progress in frames: uneven, but never backwards and never at rest.
    unevenness = generator.uniform(0, 0.6) * FRAMES / (2 * np.pi)
    phase = generator.uniform(0, 2 * np.pi)
    progress = time + unevenness * np.sin(2 * np.pi * time / FRAMES + phase)
    progress -= progress[count // 2]

    # The four motions, as pixels a frame in the frame's middle distance from its middle: one of
    # them for the class, and a little of the others, as no tripod is perfect.
    kind, _, side = name.partition("_")
    low, high = SPEEDS[kind]
    speed = low * (high / low) ** generator.random()
    motions = dict(zip(SPEEDS, speed * generator.normal(0, 0.1, len(SPEEDS)), strict=True))
    if kind != "still":
        motions[kind] = speed if side in ("right", "down", "in") else -speed
    path = Path(
        x=motions["pan"] * progress,
        y=motions["tilt"] * progress,
        zoom=motions["zoom"] / MIDDLE_DISTANCE * progress,
        roll=motions["turn"] / MIDDLE_DISTANCE * progress,
    )
    # Shake: three slow waves each, faster ones smaller.
    strength = generator.exponential(0.4)
    for field, scale in (("x", 1), ("y", 1), ("zoom", 0.01), ("roll", 0.01)):
        wave = np.zeros(count)
        for period in (23, 11, 5):
            size = generator.normal(0, period / 23)
            wave += size * np.sin(2 * np.pi * time / period + generator.uniform(0, 2 * np.pi))
        setattr(path, field, getattr(path, field) + strength * scale * wave)
    return path


def make_scene(photographs, generator):
    """Makes a picture of SCENE x SCENE pixels: part of a photograph, in colours of its own."""
    scene = cut_out(photographs, SCENE, generator)
    for _ in range(generator.integers(0, 7)):
        # Parts of other photographs laid over it, so that no two scenes are alike.
        size = int(generator.integers(SCENE // 10, SCENE // 2))
        top, left = generator.integers(0, SCENE - size, 2)
        part = scene[top : top + size, left : left + size]
        mask = ellipse(size) if generator.random() < 0.5 else 1.0
        part += mask * (cut_out(photographs, size, generator) - part)
    return scene


def cut_out(photographs, size, generator):
    """Cuts a random square out of a random photograph, mirrored, turned and coloured at will."""
    while True:
        picture = photographs[generator.integers(len(photographs))]
        side = generator.uniform(min(0.35 * min(picture.size), size), min(picture.size))
        left, top = generator.uniform(0, np.subtract(picture.size, side))
        box = (left, top, left + side, top + side)
        square = np.asarray(
            picture.resize((size, size), Image.Resampling.BILINEAR, box), np.float32
        )
        # Nobody can see how a camera moves over an empty sky.
        if square.std(axis=(0, 1)).max() > 20:
            break
    square = np.rot90(square, generator.integers(4))[:, :: generator.choice((-1, 1))]
    square = square[..., generator.permutation(3)]
    if generator.random() < 0.15:
        square = 255 - square
    square = 255 * (square / 255) ** math.exp(generator.normal(0, 0.25))
    gains = np.exp(generator.normal(0, 0.12, 3)) * generator.uniform(0.7, 1.1)
    return np.clip(square * gains + generator.normal(0, 12), 0, 255).astype(np.float32)


def ellipse(size):
    """A mask of an ellipse, soft at its edge, `(size, size, 1)`."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.clip((1 - np.hypot(x, y)) * size / 4, 0, 1)[..., None].astype(np.float32)


def look(scene, path, size):
    """Renders what a camera on its path sees of a mirrored plane, at every moment of the path."""
    height, width = size
    margin = SCENE // 2
    mirrored = np.pad(scene, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    plane = Image.fromarray(mirrored.astype(np.uint8))
    frames = np.empty((len(path.x), height, width, 3), np.uint8)
    steps = zip(path.x, path.y, path.zoom, path.roll, strict=True)
    for number, (x, y, zoom, roll) in enumerate(steps):
        # From a place in the frame to the place in the plane that is seen there. y points down,
        # so the axes of a camera that rolls to the right, clockwise, turn by plus the angle.
        cos, sin = math.exp(-zoom) * math.cos(roll), math.exp(-zoom) * math.sin(roll)
        middle_x, middle_y = mirrored.shape[1] / 2 + x, mirrored.shape[0] / 2 + y
        plane_from_frame = (
            *(cos, -sin, middle_x - cos * width / 2 + sin * height / 2),
            *(sin, cos, middle_y - sin * width / 2 - cos * height / 2),
        )
        frames[number] = plane.transform(
            (width, height), Image.Transform.AFFINE, plane_from_frame, Image.Resampling.BILINEAR
        )
    return frames


def add_thing(frames, photographs, path, generator):
    """Lays over the frames an ellipse cut from a photograph, which goes its own way."""
    size = int(generator.integers(10, 44))
    picture = cut_out(photographs, size, generator)
    mask = ellipse(size)
    time = np.linspace(0, 1, len(frames))[:, None]
    # Half of the way's speed is the thing's own; it may hang before the camera or stand in the
    # scene, and it swings.
    start = generator.uniform((0, 0), (HEIGHT - size, WIDTH - size))
    way = start + generator.normal(0, 25, 2) * time
    way += generator.normal(0, 6, 2) * np.sin(time * generator.uniform(2, 25))
    if generator.random() < 0.5:
        way -= np.stack([path.y, path.x], axis=1)
    for frame, (top, left) in zip(frames, np.rint(way).astype(int), strict=True):
        y, x = max(top, 0), max(left, 0)
        part = frame[y : max(top + size, 0), x : max(left + size, 0)]
        inside = (
            slice(y - top, y - top + part.shape[0]),
            slice(x - left, x - left + part.shape[1]),
        )
        part[...] = part + mask[inside] * (picture[inside] - part)
    return frames


def soften(frames):
    """Blurs frames by a kernel of 1 2 1, along height and width."""
    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16


def write_video(path, frames, quality=23):
    """Encodes frames as h264 in mp4; the file appears under its name when it is complete.

    Args:
        path: where to write it.
        frames: `uint8` array `(frames, height, width, 3)`, RGB.
        quality: x264's constant rate factor: 18 is fine, 34 is coarse.
    """
    path = pathlib.Path(path)
    unfinished = path.with_suffix(".part")
    with av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(quality), "preset": "veryfast", "g": "12"}
        for number, picture in enumerate(frames):
            # Converted here, not by the encoder, whose own conversion made files of the same
            # frames differ now and then.
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    os.replace(unfinished, path)


def main():
    """Reads the command line and makes both sets."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", help="folder to write train/ and validation/ into")
    parser.add_argument("--per-class", type=int, default=100, help="training videos of each class")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for split, per_class in (
        ("train", arguments.per_class),
        ("validation", math.ceil(arguments.per_class / 5)),
    ):
        make_videos(
            pathlib.Path(arguments.out) / split,
            split,
            per_class,
            arguments.seed,
            lambda done, total, split=split: print(f"\r{split}: {done} of {total}", end=""),
        )
        print()


if __name__ == "__main__":
    main()
