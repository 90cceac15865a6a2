"""Indented JSON that reads back to the same, a line for every plain list."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymap.evaluation import json_lines

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@given(VALUES)
def test_what_is_written_is_read(told):
    assert json.loads(json_lines.text(told)) == told


def test_a_list_of_lists_has_a_line_for_each():
    told = {"rows": [["a [ b", 1, 2.5], ["c\n]", None, "{"]], "one": []}
    assert json_lines.text(told).splitlines() == [
        "{", ' "rows": [', '  ["a [ b", 1, 2.5],', '  ["c\\n]", null, "{"]', " ],", ' "one": []', "}",
    ]  # fmt: skip


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_lines.text([float("nan")])
