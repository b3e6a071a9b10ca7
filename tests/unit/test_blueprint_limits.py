"""A blueprint that would not fit into memory is refused before anything is built."""

import pytest

from morph_kernels.blueprint import (
    Blueprint,
    BlueprintShapeError,
    BlueprintTooLargeError,
)
from tests.support.blueprint_text import TEXT


def test_parameter_bytes_are_counted_before_anything_is_built():
    text = TEXT.replace("out_features: 16", "out_features: 1048576").replace("in_features: 16", "in_features: 1048576")
    text = text.replace("in_features: 8", "in_features: 1048576")
    with pytest.raises(BlueprintTooLargeError, match=r"node 'up'.*4398050705408 bytes"):
        Blueprint.from_yaml(text)


def test_a_value_of_too_many_elements_is_refused():
    text = TEXT.replace("[1, 16]", "[1, 1048576]").replace("features: 16", "features: 8192")
    with pytest.raises(BlueprintShapeError, match=r"node 'up'.*elements"):
        Blueprint.from_yaml(text)
