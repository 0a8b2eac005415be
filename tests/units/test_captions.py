"""Pictures and sentences: what is drawn is what is said, a user's own, and no picture on both sides of a split."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from harness import registry
from harness.data import read_captions, read_shapes, sources
from harness.data.archives import members
from harness.data.read_sentences import sentence
from harness.engine import run_trial
from harness.errors import UserError
from harness.tasks.base import SPLITS
from harness.trial import Trial

RED, BLUE, GREEN = (220, 30, 30), (0, 90, 255), (20, 150, 50)
NAMES = {"red": RED, "blue": BLUE, "green": GREEN}


def png(colour, size=(40, 20), mode="RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def faults(call):
    with pytest.raises(UserError) as caught:
        call()
    return [f"{fault.where}: {fault.what}" for fault in caught.value.faults]


def build(**settings):
    return registry.build("task", {"name": "captioning", **settings})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Thirty pictures of one colour each, none like another, with two sentences about each."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    own, lines = tmp_path / "own", []
    own.mkdir()
    for number in range(30):
        name = [*NAMES][number % 3]
        colour = tuple(min(255, value + number // 3) for value in NAMES[name])
        (own / f"{number}.png").write_bytes(png(colour))
        lines += [f"{number}.png\tIt is {name}.", f"{number}.png\tthis is  all {name} !"]
    (own / "captions.tsv").write_text("\n".join(lines))
    return own


# shapes that are drawn


def test_each_pair_of_two_properties_is_trained_on_and_the_held_out_combinations_are_not():
    def combinations(split):
        return {(scene.count, scene.size, scene.colour, scene.kind) for scene in read_shapes.scenes(split)}

    found = {split: combinations(split) for split in SPLITS}
    assert {split: len(kinds) for split, kinds in found.items()} == {"train": 55, "valid": 9, "test": 8}
    assert len(set.union(*found.values())) == 72
    for one, other in itertools.combinations(range(4), 2):
        trained = {(kind[one], kind[other]) for kind in found["train"]}
        assert trained == {(kind[one], kind[other]) for kinds in found.values() for kind in kinds}


def kind_of(shown: np.ndarray) -> str:
    """What fills its box so: all of it, as much above as below, or less above."""
    if shown.all():
        return "square"
    return "circle" if shown[0].sum() == shown[-1].sum() else "triangle"


@pytest.mark.parametrize("split", SPLITS)
def test_a_picture_shows_what_its_sentences_say(split):
    names, places = {v: k for k, v in read_shapes.COLOURS.items()}, {**read_shapes.PLACES, "middle": (30, 30)}
    for pixels, scene in read_shapes.pictures(split)[:200]:
        shown = (pixels != read_shapes.BACKGROUND).any(2)
        parts, count = ndimage.label(shown, np.ones((3, 3)))
        assert count == scene.count + 1, "shapes do not touch, not even at a corner"
        (colour,) = {tuple(map(int, pixel)) for pixel in pixels[shown]}
        boxes = ndimage.find_objects(parts)
        ((high, kind),) = {(box[0].stop - box[0].start, kind_of(shown[box])) for box in boxes}
        place = [*places][scene.place]
        middles = np.array([[(side.start + side.stop) / 2 for side in box] for box in boxes])
        assert (abs(middles - places[place]) <= read_shapes.SPREAD + 1).all()
        what = f"{'large' if high > 10 else 'small'} {names[colour]} {kind}{'s' * (count > 1)}"
        said, verb = f"{('one', 'two', 'three')[count - 1]} {what}", "are" if count > 1 else "is"
        where = "in the middle" if place == "middle" else f"at the {place}"
        assert scene.sentences == [f"{said} {where}", f"there {verb} {said} {where}", f"{where} there {verb} {said}"]


def test_pictures_are_the_same_every_time_and_each_scene_comes_as_often():
    one, other = (read_shapes.pictures("valid") for _ in range(2))
    assert all(np.array_equal(a, b) and s == t for (a, s), (b, t) in zip(one, other, strict=True))
    counts = [sum(scene == each for _, scene in one) for each in read_shapes.scenes("valid")]
    assert len(one) == 500 and max(counts) - min(counts) <= 1
    assert len({pixels.tobytes() for pixels, _ in one}) > 450


def test_shapes_are_split_by_combination_and_have_the_floor_of_one_sentence():
    task = build(data="shapes", rows=12)
    tested = {" ".join(text.split()) for texts in task.load("test", 0).references for text in texts}
    trained = {text for texts in task.load("train", 0).references for text in texts}
    assert not tested & trained
    assert task.facts["constant"] in trained and 20 < task.floor() < 40
    assert task.shape.features == 12 * 12 * 3 and len(task.load("train", 0)) == 3 * 4_000


# pictures


def test_a_field_is_the_mean_of_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)  # rounded once in each direction
    mean = pixels.reshape(4, 2, 6, 2, 3).mean((1, 3))
    assert np.abs(read_captions.coarse(Image.fromarray(pixels), 4, 6) - mean).max() <= 1


def test_what_is_transparent_is_white_and_grey_is_a_colour():
    assert read_captions.opened(png((255, 0, 0, 0), mode="RGBA"), "x").getpixel((0, 0)) == (255, 255, 255)
    assert read_captions.opened(png(7, mode="L"), "x").getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"no picture", "no picture that can be read"),
        (png(RED)[:60], "no picture that can be read"),
        (png(0, (10_000, 6_000), "1"), "10000 x 6000 pixels"),
    ],
    ids=["text", "cut", "large"],
)
def test_no_picture_and_one_that_is_too_large_are_refused(content, what):
    (found,) = faults(lambda: read_captions.opened(content, "p.png"))
    assert found.startswith(f"p.png: {what}")


def test_a_picture_is_shown_in_letters_nearest_to_its_colours(folder):
    task = build(data=str(folder), rows=2)
    letters = {"red": "R", "blue": "B", "green": "G"}
    for split in SPLITS:
        examples = task.load(split, 0)
        for row, texts in zip(examples.inputs, examples.references, strict=True):
            letter = next(letters[name] for name in NAMES if name in texts[0])
            assert task.told(row) == "\n".join([letter * 4] * 2)
            assert task.told(row.astype(np.float32) * examples.scale) == task.told(row)


# a user's own


def test_sentences_of_a_picture_are_its_references_and_each_trains(folder):
    task = build(data=str(folder), rows=3)
    counts = [len(task.load(split, 0)) for split in SPLITS]
    assert counts == [2 * 24, 3, 3] and task.shape.features == 3 * 6 * 3
    for split in SPLITS:
        for texts in task.load(split, 0).references:
            name = texts[0].rpartition(" ")[2]
            assert list(texts) == [f"it is {name}", f"this is all {name}"]
    words = set(task.facts["words"])
    assert words == {"<end>", "<unk>", "it", "this", "is", "all", *NAMES}


def test_inputs_are_stored_to_two_of_255_levels_less_the_mean_of_training(folder):
    task = build(data=str(folder), rows=1)
    train = task.load("train", 0)
    assert abs(train.inputs.astype(float).mean(0)).max() < 1
    for name, colour in NAMES.items():
        asked = task.ask(str(folder / f"{[*NAMES].index(name)}.png"))
        back = task.mean + asked.inputs[0].astype(float).reshape(task.mean.shape) * asked.scale * 255
        assert np.abs(back - colour).max() <= 2


def test_words_that_only_held_out_sentences_have_are_unknown_but_due(folder):
    split_of = read_captions.dealt([f"{number}.png" for number in range(30)])
    held = next(name for name, split in split_of.items() if split == "test")
    text = (folder / "captions.tsv").read_text()
    (folder / "captions.tsv").write_text(f"{held}\tsome zebra\n{text}")
    task = build(data=str(folder), rows=1)
    assert "zebra" not in task.facts["words"]
    assert any("some zebra" in texts for texts in task.load("test", 0).references)


def test_a_picture_that_comes_again_by_another_name_stays_where_it_is_tested(folder):
    split_of = read_captions.dealt([f"{number}.png" for number in range(30)])
    tested, trained = (next(n for n, s in split_of.items() if s == split) for split in ("test", "train"))
    (folder / trained).write_bytes((folder / tested).read_bytes())
    task = build(data=str(folder), rows=1)
    assert len(task.load("train", 0)) == 2 * 23 and len(task.load("test", 0)) == 3
    inputs = {split: {row.tobytes() for row in task.load(split, 0).inputs} for split in SPLITS}
    assert not inputs["test"] & inputs["train"]


def test_every_line_that_is_wrong_is_named(folder):
    (folder / "x.png").write_bytes(b"text")
    (folder.parent / "out.png").write_bytes(png(RED))
    wrong = ["no tab", "0.png\t ...", "99.png\tgone", "../out.png\tout of it", "x.png\tno picture", "x.png\tagain"]
    (folder / "captions.tsv").write_text("\n".join(["0.png\tfine", *wrong]))
    place = folder / "captions.tsv"
    said = faults(lambda: build(data=str(folder)).shape)
    assert said[:4] == [
        f"{place}:2: no sentence in 'no tab'",
        f"{place}:3: no sentence in '0.png\\t ...'",
        f"{place}:4: no picture '99.png' in this folder",
        f"{place}:5: no picture '../out.png' in this folder",
    ]
    assert [line.partition(" cannot")[0] for line in said[4:]] == [
        line for number in (6, 7) for line in [f"{place}:{number}: x.png: no picture that can be read:"]
    ]


def test_pictures_of_another_form_and_too_few_are_refused(folder):
    (folder / "3.png").write_bytes(png(RED, (20, 20)))
    (said,) = faults(lambda: build(data=str(folder)).shape)
    assert said.endswith("x 20 pixels")
    (folder / "captions.tsv").write_text("0.png\ta\n1.png\tb\n")
    assert faults(lambda: build(data=str(folder)).shape) == [f"{folder}/captions.tsv: fewer than 3 pictures"]
    (folder / "captions.tsv").unlink()
    assert faults(lambda: build(data=str(folder)).shape) == [f"{folder}: no captions.tsv"]


def test_what_is_asked_must_be_a_picture_of_the_same_form(folder):
    task = build(data=str(folder), rows=4)
    assert faults(lambda: task.ask("nowhere.png")) == ["nowhere.png: no picture is there"]
    place = folder / "high.png"
    place.write_bytes(png(RED, (20, 40)))
    assert faults(lambda: task.ask(str(place))) == [f"{place}: 20 x 40 pixels"]
    place.write_bytes(png(RED, (80, 40)))
    assert np.array_equal(task.ask(str(place)).inputs, task.ask(str(folder / "0.png")).inputs)


def test_it_learns_to_name_colours_it_has_not_seen(folder):
    task = {"name": "captioning", "data": str(folder), "rows": 1}
    settings = {"hidden_size": 16, "examples": 2_000, "batch_size": 16, "learning_rate": 0.02, "evaluations": 1}
    record = run_trial(Trial(task=task, cell={"name": "gru"}, **settings))
    assert record.status == "ok" and record.score == pytest.approx(100) and record.floor < 50, record.reason
    for row in json.loads(record.samples):
        assert row["got"] in (row["wanted"], row["wanted"].replace("it is", "this is all"))


# NLVR


@pytest.mark.data
def test_of_nlvr_true_sentences_are_read_once_with_their_picture_and_split_by_number():
    task = build(rows=5)
    rows = {file: [json.loads(line) for line in sources.read("nlvr", f"{file}.json").decode().splitlines()] for file in
            ("dev", "test", "hidden")}  # fmt: skip
    true = {file: [row for row in found if row["label"] == "true"] for file, found in rows.items()}
    assert {file: len(found) for file, found in true.items()} == {"dev": 547, "test": 556, "hidden": 546}
    assert [len(task.load(split, 0)) for split in SPLITS] == [970, 118, 554]
    said = sorted(text for texts in task.load("test", 0).references for text in texts)
    assert len(said) == 556  # every one; five of the others are of pictures that stand in two splits
    words = [read_captions.words_of(row["sentence"].strip().rstrip(read_captions.STOPS)) for row in true["test"]]
    assert said == sorted(map(sentence, words))
    assert task.floor() < 15


@pytest.mark.data
def test_no_picture_of_nlvr_is_in_two_splits():
    found = read_captions.nlvr(20)
    held = members(sources.read("nlvr", "images.zip"))
    assert len(held) == 2_964
    kept = {split: {one.colours.tobytes() for one in found[split]} for split in SPLITS}
    assert not kept["test"] & (kept["train"] | kept["valid"]) and not kept["train"] & kept["valid"]
    assert all(one.colours.shape == (20, 80, 3) for split in SPLITS for one in found[split])
