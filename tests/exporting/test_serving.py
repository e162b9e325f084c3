"""What clients send becomes what the network takes, and its answers get names.

The network here gives back what it is given, so that its answer tells what that was.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms
from keras_nonlocal.exporting.facts import Facts
from keras_nonlocal.exporting.serving import make_signatures
from keras_nonlocal.preprocessing import preprocess_input
from keras_nonlocal.video.open import decode_frames
from tests.made_videos import write

SHAPE = (4, 16, 16, 3)


def offer(shape=SHAPE, dtype="float32", top=2, flat=True, output="scores", **facts):
    """The signatures of a network for pixels whose class vector is its whole input."""
    spec = tf.TensorSpec((None, *shape), dtype, name="clips")
    serve = tf.function(
        lambda clips: tf.reshape(clips, [tf.shape(clips)[0], -1]) if flat else clips,
        input_signature=[spec],
    )
    answer = (None, 12 if None in shape else np.prod(shape)) if flat else (None, *shape)
    usual = {"source": "mmaction2", "short_side": 20, "include_preprocessing": True}
    facts = Facts(shape, str(dtype), output, **{**usual, **facts})
    return make_signatures(serve, answer, facts, top)[1]


def seen(signature, sent, shape=SHAPE):
    """What the network was given."""
    return signature(tf.constant(sent))["scores"].numpy().reshape(-1, *shape)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def in_tests(clip):
    """A clip as tests prepare it: the short side to 20 pixels, the middle 16 of them."""
    height, width = clip.shape[1:3]
    short, resized = min(height, width), clip
    if short != 20:
        sides = height * 20 // short, width * 20 // short
        resized = tf.image.resize(clip.astype("float32"), sides, antialias=True).numpy()
        resized = resized.round().astype("uint8") if clip.dtype == np.uint8 else resized
    return transforms.center_crop(16)(resized).numpy().astype("float32")


def scene(height, width):
    """A smooth picture, of which JPEG keeps nearly all."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [255 * x / width, 255 * y / height, 128 + 100 * np.sin(x / 9 + y / 7)], -1
    ).astype("uint8")


def jpeg(picture, quality=95, **options):
    return tf.io.encode_jpeg(picture, quality=quality, **options).numpy()


@pytest.mark.parametrize("source", ["video-nonlocal-net", "mmaction2", "keras-applications"])
def test_pixels_are_normalized_for_networks_of_normalized_clips(source):
    clips = noise(2, *SHAPE)
    signatures = offer(source=source, include_preprocessing=False)
    expected = preprocess_input(clips, source)
    found = seen(signatures["serving_default"], clips)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    found = seen(signatures["float_pixels"], clips.astype("float32"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    found = seen(signatures["network"], expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("signature", ["serving_default", "float_pixels", "network"])
def test_pixels_of_the_networks_size_are_taken_as_they_are(signature):
    clips = noise(2, *SHAPE)
    sent = clips if signature == "serving_default" else clips.astype("float32")
    np.testing.assert_array_equal(seen(offer()[signature], sent), clips)


def test_a_network_of_integer_pixels_is_sent_no_floats():
    signatures = offer(dtype="uint8")
    assert set(signatures) == {"serving_default", "jpeg", "network"}
    clips = noise(2, 4, 20, 30, 3)
    found = seen(signatures["serving_default"], clips)
    np.testing.assert_array_equal(found, [in_tests(clip) for clip in clips])


@pytest.mark.parametrize(
    "height, width", [(20, 30), (40, 25), (10, 12), (16, 24), (20, 20)], ids=str
)
def test_frames_of_any_size_are_resized_and_cut_as_in_tests(height, width):
    clips = noise(2, 4, height, width, 3)
    found = seen(offer()["serving_default"], clips)
    np.testing.assert_array_equal(found, [in_tests(clip) for clip in clips])


def photograph(height, width):
    """Waves of all lengths, edges, and noise of a camera."""
    draws = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    picture = draws.normal(0, 5, (height, width, 3))
    for length in (900, 400, 150, 60, 25, 10, 5):
        angle, phase = draws.uniform(0, 6, 2)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 6.28 / length + phase)
        picture += wave[..., None] * draws.uniform(4, 10, 3)
    for top, left in zip(draws.integers(0, height, 20), draws.integers(0, width, 20), strict=True):
        picture[top : top + 150, left : left + 200] += draws.normal(0, 15)
    return (picture + 120).clip(16, 235).astype("uint8")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A frame of 1920 x 1080 as a client decodes it, and what tests of a network of 224 see."""
    path = tmp_path_factory.mktemp("serving") / "large.mp4"
    write(path, photograph(1080, 1920)[None], crf=12, preset="ultrafast")
    in_tests = transforms.center_crop(224)(decode_frames(path, [0], short_side=256))
    return decode_frames(path, [0]), in_tests.numpy().astype(float)


@pytest.mark.parametrize("signature", ["serving_default", "float_pixels", "jpeg"])
def test_frames_of_1080p_are_within_two_levels_of_the_decoders(large, signature):
    frames, decoded = large
    signatures = offer((1, 224, 224, 3), short_side=256)
    sent = frames[None].astype("float32" if signature == "float_pixels" else "uint8")
    if signature == "jpeg":
        sent = [[jpeg(frames[0], 98, chroma_downsampling=False)]]
    difference = np.abs(seen(signatures[signature], sent, (1, 224, 224, 3))[0].round() - decoded)
    # The decoder converts colors after it resizes, and counts in 14 bits.
    assert difference.mean() < 1.5 and (difference <= 2).mean() > 0.99 and difference.max() < 8
    # A resizer that skips pixels is far off.
    skipping = tf.image.resize(frames, (256, 455)).numpy()[:, 16:240, 115:339]
    assert np.abs(skipping - decoded).mean() > 3


def test_float_pixels_are_not_rounded():
    clips = noise(2, 4, 31, 45, 3)
    signatures = offer()
    floats = seen(signatures["float_pixels"], clips.astype("float32"))
    exact = [in_tests(clip) for clip in clips.astype("float32")]
    np.testing.assert_allclose(floats, exact, rtol=0, atol=1e-3)
    rounded = seen(signatures["serving_default"], clips)
    assert 0.1 < np.abs(floats - rounded).max() <= 0.5


def test_jpeg_frames_become_the_pixels_that_other_decoders_give():
    frames = [jpeg(scene(40 + number, 56)) for number in range(2)]
    sent = [[frames[0]] * 4, [frames[1]] * 4]
    pixels = [
        np.stack([tf.io.decode_jpeg(frame, 3, dct_method="INTEGER_ACCURATE")] * 4)
        for frame in frames
    ]
    found = seen(offer()["jpeg"], sent)
    np.testing.assert_array_equal(found, [in_tests(clip) for clip in pixels])


def test_jpeg_of_good_quality_is_nearly_the_picture():
    picture = scene(20, 30)
    found = seen(offer()["jpeg"], [[jpeg(picture)] * 4])[0]
    difference = np.abs(found - in_tests(np.stack([picture] * 4)))
    # At quality 95 brightness is kept in steps of up to 5 levels, colour as well but for every
    # second pixel; a smooth picture loses a level or two.
    assert difference.mean() < 2 and difference.max() < 12


def test_each_jpeg_frame_stays_in_its_place():
    frames = [[jpeg(np.full((16, 16, 3), 16 * (4 * clip + frame), "uint8")) for frame in range(4)]
              for clip in range(3)]  # fmt: skip
    found = seen(offer()["jpeg"], frames)
    levels = found.mean((2, 3))
    expected = np.broadcast_to(16 * np.arange(12).reshape(3, 4, 1), levels.shape)
    np.testing.assert_allclose(levels, expected, atol=1.5)


def test_a_grey_jpeg_is_read_as_colour():
    picture = scene(16, 16)[..., :1]
    found = seen(offer()["jpeg"], [[jpeg(picture)] * 4])
    assert np.ptp(found, axis=-1).max() == 0
    assert np.abs(found[0] - picture.astype("float32")).mean() < 2


@pytest.mark.parametrize("broken", [b"", b"no picture", jpeg(noise(40, 40, 3))[:-300]])
def test_what_is_no_jpeg_is_refused(broken):
    frames = [[jpeg(scene(40, 40))] * 3 + [broken]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid JPEG data"):
        seen(offer()["jpeg"], frames)


def test_frames_of_one_clip_must_have_one_size():
    frames = [[jpeg(scene(40, 40))] * 3 + [jpeg(scene(40, 41))]]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`frames` of a clip must have one"):
        seen(offer()["jpeg"], frames)


def test_unknown_sizes_stay_unknown_and_nothing_is_resized():
    signatures = offer((None, None, None, 3), short_side=None)
    for frames, height, width in ((1, 2, 2), (1, 1, 4)):
        clips = noise(3, frames, height, width, 3)
        found = seen(signatures["serving_default"], clips, clips.shape[1:])
        np.testing.assert_array_equal(found, clips)
        sent = [[jpeg(np.full((height, width, 3), 128, "uint8"))] * frames] * 2
        found = seen(signatures["jpeg"], sent, clips.shape[1:])
        np.testing.assert_array_equal(found, np.full(found.shape, 128))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of a batch, where the network"):
        signatures["jpeg"]([[jpeg(noise(2, 2, 3))], [jpeg(noise(1, 4, 3))]])


def test_frames_that_are_no_squares_must_fit():
    signatures = offer((1, 2, 4, 3), short_side=None)
    assert signatures["serving_default"].input_signature[0].shape == (None, 1, 2, 4, 3)
    found = seen(signatures["jpeg"], [[jpeg(np.full((2, 4, 3), 128, "uint8"))]], (1, 2, 4, 3))
    assert found.shape == (1, 1, 2, 4, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        signatures["jpeg"]([[jpeg(noise(4, 2, 3))]])


def test_classes_come_the_highest_first_and_of_equals_the_first():
    facts = {"source": None, "output": "probabilities", "class_names": ("a", "b", "c", "d")}
    signatures = offer((4,), top=3, **facts)
    answers = signatures["serving_default"](tf.constant([[0.2, 0.3, 0.2, 0.3], [0.1, 0, 0, 0.9]]))
    assert set(answers) == {"probabilities", "top_probabilities", "top_indices", "top_classes"}
    assert answers["top_indices"].numpy().tolist() == [[1, 3, 0], [3, 0, 1]]
    assert answers["top_indices"].dtype == tf.int32
    assert answers["top_classes"].numpy().tolist() == [[b"b", b"d", b"a"], [b"d", b"a", b"b"]]
    np.testing.assert_allclose(answers["top_probabilities"], [[0.3, 0.3, 0.2], [0.9, 0.1, 0]])


def test_no_more_classes_are_named_than_there_are():
    answers = offer((4,), top=5, source=None)["serving_default"](tf.zeros((1, 4)))
    # Nor names that nobody knows.
    assert {name: tuple(value.shape) for name, value in answers.items()} == {
        "scores": (1, 4),
        "top_scores": (1, 4),
        "top_indices": (1, 4),
    }


def test_a_network_without_pixels_is_sent_what_it_takes():
    signatures = offer((4,), "int32", source=None)
    assert set(signatures) == {"serving_default", "network"}
    assert signatures["serving_default"].input_signature[0].dtype == tf.int32
    answers = signatures["network"](tf.constant([[3, 1, 2, 4]]))
    assert {name: value.numpy().tolist() for name, value in answers.items()} == {
        "scores": [[3, 1, 2, 4]]
    }


def test_what_is_no_class_vector_is_given_as_features():
    answers = offer(flat=False)["serving_default"](tf.constant(noise(1, *SHAPE)))
    assert set(answers) == {"features"}
    assert answers["features"].shape == (1, *SHAPE)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"top": 0}, r"`top` must be at least 1. Received: top=0"),
        ({"class_names": ("a", "b")}, r"one name for each class of the network \(3072\).*2 names"),
        ({"shape": (16, 16, 3)}, r"`facts.source` must be None but for.*\(16, 16, 3\)"),
        ({"short_side": 15}, r"`facts.short_side` must not be below.*\(16\).*short_side=15"),
    ],
    ids=["top", "names", "pictures", "short side"],
)
def test_facts_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        offer(**arguments)
