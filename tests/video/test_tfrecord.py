"""TFRecord files as TensorFlow writes and reads them, and what is said of damaged ones."""

import gzip
import os

import fsspec
import pytest
import tensorflow as tf

from keras_nonlocal.video import tfrecord

RECORDS = [b"", b"a", bytes(range(256)) * 40, "跑".encode() * 1000]


def write_by_tensorflow(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


@pytest.fixture
def file(tmp_path):
    return write_by_tensorflow(tmp_path / "a.tfrecord", RECORDS)


def offsets_of(path):
    return [offset for offset, _, _ in tfrecord.scan_records(path)]


def test_records_of_tensorflow_are_read(file):
    assert [tfrecord.read_record(file, offset) for offset in offsets_of(file)] == RECORDS


def test_files_equal_those_of_tensorflow(file):
    written = b"".join(part for record in RECORDS for part in tfrecord.frame_record(record))
    assert written == file.read_bytes()


def test_scanning_leaves_the_file_at_the_data_of_each_record(file):
    heads = [(n, file.read(min(n, 3))) for _, n, file in tfrecord.scan_records(file)]
    assert heads == [(len(record), record[:3]) for record in RECORDS]


def test_urls_are_read_as_files_are(file):
    fsspec.filesystem("memory").pipe_file("/records/a.tfrecord", file.read_bytes())
    url = "memory://records/a.tfrecord"
    assert offsets_of(url) == offsets_of(file)
    assert [tfrecord.read_record(url, offset) for offset in offsets_of(url)] == RECORDS
    ranges = [(40, 7), (3, 100), (file.stat().st_size - 2, 9)]
    assert tfrecord.read_ranges(url, ranges) == tfrecord.read_ranges(file, ranges)
    assert tfrecord.read_ranges(file, ranges)[1] == file.read_bytes()[3:103]
    for read in (tfrecord.read_record, lambda url, start: tfrecord.read_ranges(url, [(start, 1)])):
        with pytest.raises(FileNotFoundError, match="no file of records 'memory://nowhere/a'"):
            read("memory://nowhere/a", 0)


def test_a_damaged_record_is_named(file):
    data = bytearray(file.read_bytes())
    offset = offsets_of(file)[2]
    data[offset + 12 + 5000] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=rf"byte {offset} of '.*a.tfrecord'.* checksum"):
        tfrecord.read_record(file, offset)
    assert tfrecord.read_record(file, offsets_of(file)[3]) == RECORDS[3]


@pytest.mark.parametrize("missing", [1, 4, 3000], ids=["one byte", "checksum", "data"])
def test_a_truncated_file_says_so(missing, file):
    data = file.read_bytes()
    file.write_bytes(data[:-missing])
    with pytest.raises(ValueError, match=rf"truncated, it ends at byte {len(data) - missing} of "):
        offsets_of(file)


def test_a_file_truncated_in_a_header_says_so(file):
    last = offsets_of(file)[-1]
    file.write_bytes(file.read_bytes()[: last + 5])
    with pytest.raises(ValueError, match=f"byte {last} of .*, it ends at byte {last + 5}"):
        offsets_of(file)


def test_an_offset_within_a_record_is_an_error(file):
    with pytest.raises(ValueError, match="byte 7 of .* no record begins there"):
        tfrecord.read_record(file, 7)


def test_another_kind_of_file_is_an_error(tmp_path):
    (tmp_path / "a.tfrecord").write_text("no record at all, only a text")
    with pytest.raises(ValueError, match="the file is no TFRecord file"):
        tfrecord.read_record(tmp_path / "a.tfrecord", 0)


def test_a_compressed_file_is_to_be_decompressed(file):
    file.write_bytes(gzip.compress(file.read_bytes()))
    with pytest.raises(ValueError, match="compressed by gzip.* Decompress it"):
        offsets_of(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file of records '.*nothing'"):
        tfrecord.read_record(tmp_path / "nothing", 0)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe' is not a regular file"):
        tfrecord.read_record(tmp_path / "pipe", 0)
