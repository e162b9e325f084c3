"""Clips a second from video files and records, beside raw decoding; and what training waits for.

    python benchmarks/data.py [--rounds 5] [--seconds 4]

Every contender gives training clips (random start, short side drawn from 256 to 320) out of the
same h264 files of 340x256, or of 1280x720, in a process of its own:

- ceiling     PyAV alone, in as many processes as there are cores: seek, decode, resize to RGB;
              nothing is cropped or batched
- mp4         `training_clips` of the files: uint8 batches, cropped and mirrored
- records     `training_clips` of the records that `keras-nonlocal prepare` makes of them
- decord, opencv   their readers in a pool of as many threads: decoded frames, as the ceiling

Before that, single clips are decoded in one thread out of many files, links to a few: by PyAV
alone, at the first visit to a file, and when its index is on disk or in memory; beside decord and
OpenCV. The bytes that each reads are counted (Linux).

All are warmed up, then take turns, round by round; a ratio is the median of the rounds' ratios.
Then a small network and NL-I3D R50 train on mp4, on records, and on one batch again and again.
Without decord and OpenCV (the extra `[benchmarks]`) their rows are left out.
"""

import argparse
import concurrent.futures
import importlib.util
import itertools
import json
import multiprocessing
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from machine import describe_machine

FRAMES = 300
SIZES = {"340x256": (256, 340), "1280x720": (720, 1280)}
CLIPS = {"8x8": (8, 8), "32x2": (32, 2)}
CORES = len(os.sched_getaffinity(0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--visits", type=int, default=100, help="files of the single clips")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(*arguments.child)
        return
    packages = ("keras", "tensorflow", "av", "numpy", "decord", "opencv-python-headless")
    print(describe_machine(*packages))
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            visit(kind, pathlib.Path(folder, "visits", kind), arguments.visits)
        for size, (height, width) in SIZES.items():
            videos = pathlib.Path(folder, size)
            make_videos(videos / "class", arguments.videos // (height // 200), height, width)
            prepare_records(videos)
            for clip in CLIPS:
                compare(size, videos, clip, arguments)
        for network in NETWORKS:
            wait_for_input(network, pathlib.Path(folder, "340x256"), arguments.rounds)


# Single clips, in one thread.

FORMATS = {"mp4": "libx264", "avi": "mpeg4", "webm": "libvpx-vp9"}


def visit(kind, folder, count):
    """Times and counts the bytes of one clip of each file, by each contender in turn."""
    make_videos(folder / "made", 4, 256, 340, kind, FORMATS[kind])
    made = sorted((folder / "made").iterdir())
    paths = [folder / f"{number}.{kind}" for number in range(count)]
    for number, path in enumerate(paths):
        path.symlink_to(made[number % len(made)])
    contenders = {
        "PyAV": decode_raw,
        "first visit": decode_indexed,
        "index on disk": decode_indexed,
        "index in memory": decode_indexed,
        "decord": decode_by_decord,
        "opencv": decode_by_opencv,
    }
    contenders = {
        name: decode
        for name, decode in contenders.items()
        if importlib.util.find_spec(NEEDS.get(name, "numpy"))
    }
    from keras_nonlocal.video import index

    os.environ["KERAS_NONLOCAL_VIDEO_INDEX"] = str(folder / "indexes")
    costs = {name: [] for name in contenders}
    generator = np.random.default_rng(0)
    for path in paths:
        start = int(generator.integers(FRAMES - 56))
        for name, decode in contenders.items():
            if name != "index in memory":
                index._CACHE = index.IndexCache()
            read, began = bytes_read(), time.perf_counter()
            decode(str(path), start, 8, 8, 256)
            costs[name].append((time.perf_counter() - began, bytes_read() - read))
    print(f"\nOne 8x8 clip of {kind}, 340x256: milliseconds, kilobytes, and the ratios to PyAV")
    for name, cost in costs.items():
        seconds, size = np.median(cost, 0)
        slower, larger = np.median(np.array(cost) / np.maximum(costs["PyAV"], 1e-9), 0)
        print(f"  {name:16} {1e3 * seconds:7.1f} {size / 1e3:7.0f}   {slower:5.2f} {larger:5.2f}")


def bytes_read():
    try:
        with open("/proc/self/io") as file:
            return int(file.readline().split()[1])
    except FileNotFoundError:  # not Linux
        return 0


def decode_indexed(path, start, stride, frames, short_side):
    from keras_nonlocal.video.open import decode_frames

    return decode_frames(path, range(start, start + stride * frames, stride), short_side)


def make_videos(folder, count, height, width, kind="mp4", codec="libx264"):
    """Writes files with the defaults of their encoder, as most copies of data sets are made."""
    import av

    folder.mkdir(parents=True)
    for number in range(count):
        generator = np.random.default_rng(number)
        # Blobs of many sizes; twice the frame, so that a camera can pan over them.
        texture = sum(
            np.kron(
                generator.integers(-60, 60, (2 * height // size + 1, 2 * width // size + 1, 3)),
                np.ones((size, size, 1), np.int16),
            )[: 2 * height, : 2 * width]
            for size in (8, 16, 32, 64)
        )
        texture = np.clip(texture // 2 + 116, 0, 240).astype(np.uint8)
        with av.open(str(folder / f"{number}.{kind}"), "w") as container:
            stream = container.add_stream(codec, rate=30)
            if codec == "libvpx-vp9":
                stream.options = {"deadline": "realtime", "cpu-used": "8"}
            stream.bit_rate = 0 if codec == "libx264" else 1_800_000
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for time_step in range(FRAMES):
                top, left = time_step * (height - 1) // FRAMES, time_step * (width - 1) // FRAMES
                picture = texture[top : top + height, left : left + width]
                # The grain of a camera, which makes files as large as those of Kinetics.
                picture = picture + generator.integers(0, 15, (height, width, 1), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def prepare_records(videos):
    command = [sys.executable, "-m", "keras_nonlocal.cli", "prepare"]
    subprocess.run([*command, str(videos), f"{videos}-records"], check=True, capture_output=True)


# Contenders: functions that give endless clips of one, as numbers of clips that are ready.


def ceiling(videos, clip):
    """Clips of PyAV alone, one process a core."""
    queue = multiprocessing.Queue(maxsize=4 * CORES)
    for seed in range(CORES):
        process = multiprocessing.Process(
            target=decode_forever, args=(videos, clip, seed, queue), daemon=True
        )
        process.start()
    while True:
        queue.get()
        yield 1


def decode_forever(videos, clip, seed, queue):
    for path, start, stride, frames, short_side in draw(videos, clip, seed):
        decode_raw(path, start, stride, frames, short_side)
        queue.put(1)


def draw(videos, clip, seed):
    frames, stride = CLIPS[clip]
    paths = sorted(map(str, pathlib.Path(videos, "class").iterdir()))
    generator = np.random.default_rng(seed)
    while True:
        start = int(generator.integers(FRAMES - (frames - 1) * stride))
        path = paths[generator.integers(len(paths))]
        yield path, start, stride, frames, int(generator.integers(256, 321))


def decode_raw(path, start, stride, frames, short_side):
    """What one writes with PyAV who knows that the rate is constant: 30 frames a second."""
    import av
    from av.video.reformatter import VideoReformatter

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        reformatter = VideoReformatter()
        tick = 1 / (30 * stream.time_base)
        container.seek(int(start * tick), stream=stream)
        clip = []
        for frame in container.decode(stream):
            number = round(frame.pts / tick)
            if number >= start and (number - start) % stride == 0:
                scale = short_side / min(frame.height, frame.width)
                size = round(frame.width * scale), round(frame.height * scale)
                # Threads for so small a picture cost more than they save.
                resized = reformatter.reformat(
                    frame, *size, "rgb24", interpolation="BILINEAR", threads=1
                )
                clip.append(resized.to_ndarray())
                if len(clip) == frames:
                    return np.stack(clip)
    raise RuntimeError(f"{path} ended early")


def mp4(videos, clip):
    import keras_nonlocal as knl

    return batches(knl.data.read_folder(videos), clip)


def records(videos, clip):
    import keras_nonlocal as knl

    return batches(knl.data.read_records(f"{videos}-records"), clip)


def batches(videos, clip):
    import keras_nonlocal as knl

    # An epoch is long, as that of a data set: between two of them the cores run dry.
    videos = videos.select(np.tile(np.arange(len(videos)), 100))
    dataset = knl.data.training_clips(videos, clip, batch_size=4, seed=1).dataset()
    for clips, _ in dataset.repeat():
        yield len(clips)


def decord(videos, clip):
    return pooled(videos, clip, decode_by_decord)


def opencv(videos, clip):
    return pooled(videos, clip, decode_by_opencv)


def pooled(videos, clip, decode):
    tasks = draw(videos, clip, 0)
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        waiting = [pool.submit(decode, *next(tasks)) for _ in range(2 * CORES)]
        while True:
            waiting.pop(0).result()
            waiting.append(pool.submit(decode, *next(tasks)))
            yield 1


def decode_by_decord(path, start, stride, frames, short_side):
    import decord

    height, width = next(size for name, size in SIZES.items() if f"/{name}/" in path)
    scale = short_side / min(height, width)
    reader = decord.VideoReader(
        path, width=round(width * scale), height=round(height * scale), num_threads=1
    )
    return reader.get_batch(range(start, start + frames * stride, stride)).asnumpy()


def decode_by_opencv(path, start, stride, frames, short_side):
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_POS_FRAMES, start)
    clip = []
    for number in range((frames - 1) * stride + 1):
        if not capture.grab():
            raise RuntimeError(f"{path} ended early")
        if number % stride == 0:
            picture = capture.retrieve()[1]
            scale = short_side / min(picture.shape[:2])
            size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
            clip.append(cv2.cvtColor(cv2.resize(picture, size), cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(clip)


CONTENDERS = {
    "ceiling": ceiling,
    "mp4": mp4,
    "records": records,
    "decord": decord,
    "opencv": opencv,
}
NEEDS = {"decord": "decord", "opencv": "cv2"}


def serve(contender, videos, clip):
    """In a process of its own: answers each line, a number of seconds, with clips a second."""
    source = CONTENDERS[contender](videos, clip)
    for line in sys.stdin:
        # What lies ready from before would count as made in no time.
        start = time.perf_counter()
        while time.perf_counter() - start < 1:
            next(source)
        seconds, clips, start = float(line), 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            clips += next(source)
        print(json.dumps(clips / (time.perf_counter() - start)), flush=True)


def compare(size, videos, clip, arguments):
    names = [n for n in CONTENDERS if importlib.util.find_spec(NEEDS.get(n, "numpy"))]
    rates = {name: [] for name in names}
    children = {name: start_child(name, videos, clip) for name in names}
    for turn in range(arguments.rounds + 1):
        for name, child in children.items():
            rate = ask(child, arguments.seconds)
            if turn:  # the first warms up
                rates[name].append(rate)
    for child in children.values():
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    print(f"\n{clip} of {size}: clips a second, and the ratio to the ceiling")
    for name in names:
        pairs = zip(rates[name], rates["ceiling"], strict=True)
        ratio = statistics.median(own / top for own, top in pairs)
        print(f"  {name:8} {statistics.median(rates[name]):7.1f}  {ratio:5.2f}")
    pairs = zip(rates["records"], rates["mp4"], strict=True)
    print(f"  records / mp4     {statistics.median(one / other for one, other in pairs):5.2f}")


def start_child(*words):
    command = [sys.executable, __file__, "--child", *map(str, words)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, start_new_session=True)


def ask(child, seconds):
    """One turn of a child. It stands still in the turns of the others, and prepares nothing."""
    os.killpg(child.pid, signal.SIGCONT)
    print(seconds, file=child.stdin, flush=True)
    answer = json.loads(child.stdout.readline())
    os.killpg(child.pid, signal.SIGSTOP)
    return answer


# What training waits for. Decoding and the network share the cores here, so that a step slows
# down also where it never waits: both are told.

NETWORKS = {
    "small network, 8x2 at 64": {
        "build": {"depth": (1, 1, 1, 1), "width": 16, "input_shape": (8, 64, 64, 3)},
        "clips": {"clip": "8x2", "crop": 64, "batch_size": 8},
        "steps": 40,
    },
    "NL-I3D R50, 8x8 at 224": {
        "build": {"depth": 50},
        "clips": {"clip": "8x8", "size": 224, "batch_size": 4},
        "steps": 3,
    },
}


def wait_for_input(name, videos, rounds):
    import keras_nonlocal as knl

    sources = {
        "mp4": knl.data.read_folder(videos),
        "records": knl.data.read_records(f"{videos}-records"),
    }
    model = knl.NLI3D(classes=1, classifier_activation="sigmoid", **NETWORKS[name]["build"])
    model.compile("sgd", "binary_crossentropy")
    feeds = {
        source: iter(knl.data.training_clips(videos, **NETWORKS[name]["clips"]).dataset().repeat())
        for source, videos in sources.items()
    }
    feeds["one batch"] = itertools.repeat(next(feeds["mp4"]))
    steps = NETWORKS[name]["steps"]
    shares, seconds = {feed: [] for feed in feeds}, {feed: [] for feed in feeds}
    for turn in range(rounds + 1):
        for feed, batches in feeds.items():
            waited, start = 0.0, time.perf_counter()
            for _ in range(steps):
                before = time.perf_counter()
                clips, labels = next(batches)
                waited += time.perf_counter() - before
                model.train_on_batch(clips, labels)
            if turn:
                seconds[feed].append((time.perf_counter() - start) / steps)
                shares[feed].append(waited / steps / seconds[feed][-1])
    print(
        f"\n{name}: seconds a step of {NETWORKS[name]['clips']['batch_size']} clips, and the "
        "share of it that waits for input"
    )
    for feed in feeds:
        share = statistics.median(shares[feed])
        print(f"  {feed:10} {statistics.median(seconds[feed]):7.3f}  {share:6.1%}")


if __name__ == "__main__":
    main()
