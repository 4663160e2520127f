"""A section of another shape or with other values ends in a sentence that names the parameter."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange, LocalSource, Section, Source, checked


class Circle(Section):
    kind: Literal["circle"]
    radius: float = Field(gt=0)


class Box(Section):
    kind: Literal["box", "cube"]
    sides: list[Annotated[int, Field(ge=1)]]


class Colour(Section):
    name: Literal["red", "blue"]
    share: float


class Drawing(Section):
    shape: Annotated[Circle | Box, Field(discriminator="kind")]
    shapes: list[Annotated[Circle | Box, Field(discriminator="kind")]]
    colour: Colour | None
    size: Annotated[int, Field(ge=1)] | None


class Gallery(Section):
    width: IntRange
    drawings: dict[Annotated[str, Field(pattern="^[a-z]+$")], Drawing]
    files: dict[str, Source]

    @model_validator(mode="after")
    def _filled(self) -> "Gallery":
        if not self.drawings:
            raise ValueError("hang something")
        return self


def drawing(**changes: Any) -> dict[str, Any]:
    circle = {"kind": "circle", "radius": 1.5}
    whole = {"shape": circle, "shapes": [circle], "colour": None, "size": None}
    return {**whole, **changes}


def gallery(**changes: Any) -> dict[str, Any]:
    whole = {"width": {"min": 1, "max": 2}, "drawings": {"first": drawing()}, "files": {}}
    return {**whole, **changes}


def sentence_for(content: dict[str, Any]) -> str:
    with pytest.raises(GoldrmError) as error:
        checked(Gallery, content, Path("gallery.yaml"))
    sentence = str(error.value)
    assert sentence.startswith("gallery.yaml: ")
    assert sentence.endswith("Correct gallery.yaml or the -S option.")
    assert "\n" not in sentence
    return sentence


def test_good_sections_load_and_are_frozen():
    box = {"kind": "cube", "sides": [1, 2]}
    colour = {"name": "red", "share": 1}
    content = gallery(drawings={"a": drawing(shape=box, shapes=[], colour=colour, size=3)})
    loaded = checked(Gallery, content, Path("gallery.yaml"))
    assert loaded.drawings["a"].shape == Box(kind="cube", sides=[1, 2])
    assert loaded.drawings["a"].colour == Colour(name="red", share=1.0)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.width.min = 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 3}, "width is 3, it should be a valid dictionary"),
        ({"width": {"min": 1}}, "width.max is missing"),
        ({"width": {"min": 1, "max": -2}}, "width.max is -2, it should be greater than or equal"),
        ({"width": {"min": 3, "max": 2}}, "width: min (3) must not be greater than max (2)"),
        ({"width": {"min": "1", "max": 2}}, "width.min is '1', it should be a valid integer"),
        (
            {"width": {"min": 1, "max": 2, "mix": 1}},
            "width.mix is not a parameter (did you mean mi",
        ),
        ({"width": {"min": 1, "max": 2, "x": 1}}, "x is not a parameter (there are: min, max)"),
        ({"widht": 1}, "widht is not a parameter (did you mean width?)"),
        ({"a\nb": 1}, r"'a\nb' is not a parameter (there are: width, drawings, files)"),
        ({"files": {"a": "ftp://b"}}, "files.a: 'ftp://b' is neither a path nor an http, https"),
        ({"files": {"a": "b\0"}}, r"files.a: 'b\x00' holds characters that no path or URL should"),
        ({"files": {"a": "~/b"}}, "files.a: '~/b' is taken as it stands, ~ and $ too; write the"),
        ({"files": {"a": "https:///b"}}, "files.a: 'https:///b' is neither a path nor an http"),
        ({"drawings": {}}, "the file: hang something"),
    ],
)
def test_parameter_is_named(changes: dict[str, Any], sentence: str):
    assert sentence in sentence_for(gallery(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": {"radius": 1.5}}, "drawings.a.shape.kind is missing"),
        (
            {"shape": {"kind": "ball"}},
            "drawings.a.shape.kind is 'ball', it should be one of 'circle', 'box', 'cube'.",
        ),
        (
            {"shape": {"kind": None}},
            "drawings.a.shape.kind is None, it should be one of 'circle', 'box', 'cube'.",
        ),
        ({"shape": 3}, "drawings.a.shape is 3, it should be a valid dictionary"),
        ({"shape": {"kind": "circle"}}, "drawings.a.shape.radius is missing"),
        (
            {"shape": {"kind": "circle", "radius": 0.0}},
            "drawings.a.shape.radius is 0.0, it should be greater than 0",
        ),
        (
            {"shape": {"kind": "circle", "radius": 1.5, "sides": [1]}},
            "drawings.a.shape.sides is not a parameter (there are: kind, radius)",
        ),
        (
            {"shape": {"kind": "cube", "sides": [1, 0]}},
            "drawings.a.shape.sides.1 is 0, it should be greater than or equal to 1",
        ),
        (
            {"shapes": [{"kind": "box", "sides": []}, {"kind": "box", "sids": []}]},
            "drawings.a.shapes.1.sids is not a parameter (did you mean sides?)",
        ),
        ({"shapes": [{"kind": "box", "sides": []}, {}]}, "drawings.a.shapes.1.kind is missing"),
        ({"colour": {"name": "red"}}, "drawings.a.colour.share is missing"),
        ({"colour": {"name": "pink", "share": 1.0}}, "drawings.a.colour.name is 'pink', it should"),
        (
            {"colour": {"name": "red", "share": 1.0, "shade": 1}},
            "drawings.a.colour.shade is not a parameter (did you mean share?)",
        ),
        ({"size": 0}, "drawings.a.size is 0, it should be greater than or equal to 1"),
        ({"size": "1"}, "drawings.a.size is '1', it should be a valid integer"),
        ({"sise": 1}, "drawings.a.sise is not a parameter (did you mean size?)"),
    ],
)
def test_parameter_within_a_dictionary_is_named_without_its_choices_tag(
    changes: dict[str, Any], sentence: str
):
    assert sentence in sentence_for(gallery(drawings={"a": drawing(**changes)}))


@pytest.mark.parametrize("name", ["shape", "circle", "kind", "colour"])
def test_a_name_that_is_a_fields_or_a_tags_leads_nowhere_else(name: str):
    """Names in a dictionary are the user's: a drawing may be called colour, or circle."""
    wrong = drawing(shape={"kind": "circle", "radius": -1.0}, colour={"name": "red", "shar": 1.0})
    sentence = sentence_for(gallery(drawings={name: wrong}))
    assert f"drawings.{name}.shape.radius is -1.0, it should be greater than 0" in sentence
    assert f"drawings.{name}.colour.shar is not a parameter (did you mean share?)" in sentence


@pytest.mark.parametrize(
    ("key", "named"),
    [("Two words", "drawings.Two words is 'Two words'"), ("a\nb", r"drawings.'a\nb' is 'a\nb'")],
)
def test_a_dictionarys_key_is_named_once(key: str, named: str):
    sentence = sentence_for(gallery(drawings={key: drawing()}))
    assert f"{named}, it should match pattern '^[a-z]+$'" in sentence


def test_all_that_is_wrong_is_named():
    sentence = sentence_for({"width": {"min": 1, "max": "x"}, "drawing": {}})
    for part in ("width.max is 'x'", "drawings is missing", "files is missing", "drawing is not a"):
        assert part in sentence


def test_long_names_and_values_are_cut():
    assert len(sentence_for(gallery(**{"x" * 5000: 1}))) < 300
    assert len(sentence_for(gallery(width="x" * 5000))) < 300


@pytest.mark.parametrize("number", [float("nan"), float("inf"), True, "1.5", None])
def test_what_is_no_number_is_no_number(number: object):
    shape = {"kind": "circle", "radius": number}
    assert "drawings.a.shape.radius is " in sentence_for(
        gallery(drawings={"a": drawing(shape=shape)})
    )


def test_local_source_is_no_url():
    class Files(Section):
        source: LocalSource

    with pytest.raises(GoldrmError, match="source: 's3://a/b' must be a path, not a URL"):
        checked(Files, {"source": "s3://a/b"}, Path("files.yaml"))
    assert checked(Files, {"source": "a/b"}, Path("files.yaml")).source == "a/b"
