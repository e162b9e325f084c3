"""Files of class names."""

import pytest

from keras_nonlocal.lists.classes import number_labels, read_classes
from tests.lists.annotation_files import write


@pytest.mark.parametrize(
    "text",
    [
        "jump\nair drumming\n3 point shot\n",
        "0 jump\n1 air drumming\n2 3 point shot\n",
        "1 jump\r\n2 air drumming\r\n3 3 point shot\r\n",
        "0\tjump\n1\tair drumming\n2\t3 point shot",
        "c000 jump\nc001 air drumming\nc002 3 point shot\n",
        "\ufeffjump\n\n  air drumming  \n3 point shot\n",
    ],
    ids=["names", "from_0", "from_1", "tab", "codes", "odd"],
)
def test_read_classes_knows_its_forms(tmp_path, text):
    expected = ("jump", "air drumming", "3 point shot")
    assert read_classes(write(tmp_path / "classes.txt", text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a\n3 b\n", "line 2, field 'number': must be 2, .*Received: '3'"),
        ("5 a\n6 b\n", "line 1, field 'number': must be 1, .*Received: '5'"),
        ("a\nb\na\n", "line 3, field 'name': must not come twice, and line 1 has it"),
        ("\n", "must name a class or more. Received: no lines"),
    ],
    ids=["gap", "start", "twice", "empty"],
)
def test_read_classes_names_what_is_wrong(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_classes(write(tmp_path / "classes.txt", text))


@pytest.mark.parametrize("texts", [["0.0", "10.0"], ["-1", "-1"]], ids=["floats", "negative"])
def test_numbers_of_other_kinds_are_no_names(texts):
    rows = [(f"line {line}", [text]) for line, text in enumerate(texts, 1)]
    with pytest.raises(ValueError, match="'list.csv', line 1, field 'label': must be a class num"):
        number_labels("list.csv", rows, None)
