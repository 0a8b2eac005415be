"""Sound: WAV files, log-mel features against scipy's, a user's recordings, and what FSDD and YesNo hold."""

from __future__ import annotations

import io
import json
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile
from scipy.signal import spectrogram

from harness import registry
from harness.data import read_wav
from harness.data.own import dealt
from harness.engine import run_trial
from harness.errors import UserError
from harness.tasks import speech
from harness.tasks.base import SPLITS
from harness.trial import Trial

RATE = 8_000
PITCH = {"low": 300.0, "high": 1_500.0}


def wav(sound: np.ndarray, rate: int = RATE, channels: int = 1, width: int = 2) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").tobytes() if width == 2 else sound.astype(np.uint8).tobytes())
    return out.getvalue()


def tone(pitch: float, seconds: float = 0.1, rng: np.random.Generator | None = None) -> np.ndarray:
    time = np.arange(int(RATE * seconds)) / RATE
    noise = 0.02 * (rng or np.random.default_rng(0)).normal(size=len(time))
    return (0.5 * np.sin(2 * np.pi * pitch * time) + noise).clip(-1, 1)


def build(**settings):
    return registry.build("task", {"name": "speech", **settings})


def faults(call):
    with pytest.raises(UserError) as caught:
        call()
    return [f"{fault.where}: {fault.what}" for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Sixty tones, high or low, each named for what it is."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    own, rng = tmp_path / "own", np.random.default_rng(0)
    own.mkdir()
    for number in range(60):
        name = ("low", "high")[number % 2]
        sound = tone(PITCH[name] * rng.uniform(0.9, 1.1), rng.uniform(0.05, 0.2), rng)
        (own / f"{name}_{number}.wav").write_bytes(wav(sound))
    return own


@pytest.fixture
def spoken(folder):
    """The same, two or three in a row, with a TSV of what they say."""
    rng, lines = np.random.default_rng(1), []
    for path in folder.iterdir():
        path.unlink()
    for number in range(60):
        said = [("low", "high")[i] for i in rng.integers(0, 2, rng.integers(2, 4))]
        gap = np.zeros(RATE // 20)
        sound = np.concatenate([part for name in said for part in (tone(PITCH[name], 0.1, rng), gap)])
        (folder / f"{number}.wav").write_bytes(wav(sound))
        lines.append(f"{number}.wav\t{' '.join(said)}")
    (folder / "said.tsv").write_text("\n".join(lines))
    return folder


# WAV


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2])
def test_samples_are_those_that_scipy_reads(width, channels):
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, 600) if width == 1 else rng.uniform(-1, 1, 600)
    content = wav(raw, 16_000, channels, width)
    rate, sound = read_wav.samples(content)
    known, values = wavfile.read(io.BytesIO(content))
    values = values.reshape(-1, channels).astype(float).mean(1)
    assert rate == known == 16_000
    np.testing.assert_allclose(sound, (values - 128) / 128 if width == 1 else values / 32768, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a WAV file"),
        (b"RIFF text", "not a WAV file"),
        (wav(tone(300))[:30], "not a WAV file"),
        (wav(np.zeros(0)), "no sound in it"),
        (wav(np.zeros(3), width=3), "24 bits a sample"),
    ],
)
def test_what_is_no_sound_is_refused(content, what):
    assert faults(lambda: read_wav.samples(content, "x.wav"))[0].startswith(f"x.wav: {what}")


def test_a_file_that_ends_early_is_read_as_far_as_it_goes():
    rate, sound = read_wav.samples(wav(tone(300))[:-101])
    assert rate == RATE and len(sound) == (2 * 800 - 101) // 2


# features


def test_features_are_the_filtered_power_of_scipys_spectrogram():
    sound, shape = tone(700, 0.3).astype(np.float32), np.hanning(200)
    found = read_wav.log_mel(sound, RATE, 12, 10)
    _, _, complex_FT = spectrogram(sound, RATE, shape, 200, 120, 256, detrend=False, scaling="spectrum", mode="complex")
    power = np.abs(complex_FT.T * shape.sum()) ** 2 / 200
    expected = np.log(np.maximum(power @ read_wav.triangles(RATE, 129, 12), read_wav.QUIET))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len(found) == (len(sound) - 200) // 80 + 1


@given(rate=st.sampled_from([8_000, 16_000, 44_100]), mels=st.integers(4, 60))
@settings(deadline=None, max_examples=30)
def test_filters_are_triangles_that_cover_the_scale(rate, mels):
    weights = read_wav.triangles(rate, 1 << 14, mels)
    assert (weights >= 0).all() and weights.max() <= 1 and (weights.max(0) > 0.9).all()
    peaks = weights.argmax(0) * rate / 2 / ((1 << 14) - 1)
    scale = 2595 * np.log10(1 + peaks / 700)
    assert np.ptp(np.diff(scale)) < 0.05 * np.diff(scale).mean() + 3, "even on the scale of mel"
    inside = (weights > 0).sum(1)
    assert inside.max() <= 2, "at most two filters hear a frequency"


def test_the_loudest_filter_is_that_of_the_pitch():
    low, high = (read_wav.log_mel(tone(pitch).astype(np.float32), RATE, 40, 10) for pitch in PITCH.values())
    assert (low.argmax(1) < high.argmax(1)).all()


def test_short_sound_and_silence_have_features():
    assert read_wav.log_mel(np.zeros(3, np.float32), RATE, 8, 10).shape == (1, 8)
    assert np.isfinite(read_wav.log_mel(np.zeros(900, np.float32), RATE, 8, 5)).all()


def test_features_are_normalised_by_training_and_stored_to_a_step():
    rng = np.random.default_rng(0)
    features = [rng.normal([3, -2], [2, 0.5], (n, 2)).astype(np.float32) for n in (40, 70, 9)]
    mean, deviation = read_wav.statistics(features)
    stored, lengths = read_wav.quantised(features, mean, deviation)
    assert lengths.tolist() == [40, 70, 9] and stored.shape == (3, 70, 2) and stored.dtype == np.int8
    for row, x in zip(stored, features, strict=True):
        assert not row[len(x) :].any()
        back = row[: len(x)] * read_wav.SCALE
        np.testing.assert_allclose(back, ((x - mean) / deviation).clip(-4, 4), atol=read_wav.SCALE / 2 + 1e-6)


# a user's own


def test_own_recordings_are_named_by_their_files_and_dealt_out_by_them(folder):
    task = build(data=str(folder))
    assert [len(task.load(split, 0)) for split in SPLITS] == [48, 6, 6]
    assert (task.mapping, task.objective, task.metric) == ("many-to-one", "cross-entropy", "accuracy")
    names = dealt([path.name for path in folder.iterdir()])
    wanted = sorted(name.partition("_")[0] for name, split in names.items() if split == "test")
    assert sorted(task.said(target) for target in task.load("test", 0).targets) == wanted
    commonest = max(("high", "low"), key=lambda x: sum(n.startswith(x) and s == "train" for n, s in names.items()))
    assert task.floor() == pytest.approx(wanted.count(commonest) / 6)


def test_transcripts_make_it_a_question_of_several_words(spoken):
    task = build(data=str(spoken))
    assert (task.mapping, task.objective, task.metric) == ("many-to-many", "ctc", "word_error_rate")
    said = dict(line.split("\t") for line in (spoken / "said.tsv").read_text().splitlines())
    names = dealt([path.name for path in spoken.glob("*.wav")])
    for split in SPLITS:
        targets = task.load(split, 0).targets
        texts = sorted(task.said(row[row != -100]) for row in targets)
        assert texts == sorted(said[name] for name, there in names.items() if there == split)
    assert task.facts["names"] == ["<blank>", "high", "low"]


def test_files_that_are_wrong_are_all_named(folder):
    (folder / "nolabel.wav").write_bytes(wav(tone(300)))
    (folder / "_x.wav").write_bytes(wav(tone(300)))
    assert faults(lambda: build(data=str(folder)).shape) == [
        f"{folder}/_x.wav: its name does not begin with a label",
        f"{folder}/nolabel.wav: its name does not begin with a label",
    ]
    (folder / "nolabel.wav").unlink()
    (folder / "_x.wav").unlink()
    (folder / "low_x.wav").write_bytes(wav(tone(300), rate=16_000))
    assert faults(lambda: build(data=str(folder)).shape) == ["low_x.wav: 16000 samples a second"]
    (folder / "low_x.wav").write_bytes(b"text")
    (folder / "low_y.wav").write_bytes(b"RIFF")
    assert [text.partition(" WAV")[0] for text in faults(lambda: build(data=str(folder)).shape)] == [
        "low_x.wav: not a",
        "low_y.wav: not a",
    ]


def test_lines_of_transcripts_that_are_wrong_are_named(spoken):
    place = spoken / "said.tsv"
    place.write_text("0.wav\tlow\n1.wav\n2.wav\t \n99.wav\tlow\n\n0.wav\thigh\n../0.wav\tlow\n")
    assert faults(lambda: build(data=str(spoken)).shape) == [
        f"{place}:2: no file and words in '1.wav'",
        f"{place}:3: no file and words in '2.wav\\t '",
        f"{place}:4: no file '99.wav' in this folder",
        f"{place}:6: file '0.wav' a second time",
        f"{place}:7: no file '../0.wav' in this folder",
    ]
    (spoken / "more.tsv").write_text("0.wav\tlow\n")
    assert faults(lambda: build(data=str(spoken)).shape) == [f"{spoken}: 2 TSV files"]


def test_too_few_recordings_are_refused(folder):
    for path in sorted(folder.iterdir())[2:]:
        path.unlink()
    assert faults(lambda: build(data=str(folder)).shape) == [f"{folder}: 2 recordings"]


def test_a_word_that_training_lacks_is_refused(spoken):
    names = dealt([path.name for path in spoken.glob("*.wav")])
    held = next(name for name, split in names.items() if split == "test")
    lines = [line for line in (spoken / "said.tsv").read_text().splitlines() if not line.startswith(f"{held}\t")]
    (spoken / "said.tsv").write_text("\n".join([*lines, f"{held}\tlow silent"]))
    assert faults(lambda: build(data=str(spoken)).shape) == [f"{spoken}: not in the training split: silent"]


def test_a_recording_can_be_asked_about(folder):
    task, place = build(data=str(folder)), folder.parent / "mine.wav"
    place.write_bytes(wav(tone(300, 0.1)))
    asked = task.ask(str(place))
    assert asked.inputs.shape == (1, 8, 40) and task.told(asked.inputs[0]) == "0.08 s of sound"
    place.write_bytes(wav(tone(300), rate=44_100))
    assert faults(lambda: task.ask(str(place))) == [f"{place}: 44100 samples a second"]
    assert faults(lambda: task.ask("nowhere.wav")) == ["nowhere.wav: no file there"]


def test_it_learns_tones_named_and_written_down(folder):
    plain = {"hidden_size": 16, "examples": 1_000, "batch_size": 8, "learning_rate": 0.01, "evaluations": 1}
    record = run_trial(Trial(task={"name": "speech", "data": str(folder)}, cell={"name": "lstm"}, **plain))
    assert record.status == "ok" and record.score == 1 > record.floor, record.reason


def test_it_learns_tones_in_a_row_by_ctc(spoken):
    plain = {"hidden_size": 24, "examples": 6_000, "batch_size": 8, "learning_rate": 0.02, "evaluations": 1}
    plain |= {"schedule": "cosine", "clip_norm": 1.0, "bidirectional": True}
    record = run_trial(Trial(task={"name": "speech", "data": str(spoken)}, cell={"name": "lstm"}, **plain))
    assert record.status == "ok" and record.score < 0.1 < record.floor, record.reason
    assert all(row["got"] == row["wanted"] for row in json.loads(record.samples)) or record.score > 0


# floors and what is joined


def test_one_answer_to_everything_cannot_be_bettered_by_a_word():
    rng = np.random.default_rng(0)
    texts = [[("a", "b", "c")[i] for i in rng.integers(0, 3, rng.integers(1, 6))] for _ in range(40)]
    best = speech.constant(texts)
    rate = speech.error_rate(best, texts)
    assert rate <= speech.error_rate([], texts) == 1
    for place in range(len(best) + 1):
        for word in "abc":
            assert speech.error_rate([*best[:place], word, *best[place:]], texts) >= rate


def test_joined_recordings_are_of_one_speaker_and_say_what_they_hold():
    rows = [(np.full(n + 1, n, np.float32), [str(n)]) for n in range(60)]
    speakers = [speech.SPEAKERS[n % 6] for n in range(60)]
    for split in SPLITS:
        found = speech.joined(rows, speakers, split)
        assert len(found) == speech.DRAWN[split] and {len(words) for _, words in found} == {3, 4, 5, 6, 7}
        for sound, words in found[:100]:
            numbers = list(map(int, words))
            assert len({n % 6 for n in numbers}) == 1
            assert np.array_equal(sound, np.concatenate([np.full(n + 1, n) for n in numbers]))
    one, other = (speech.joined(rows, speakers, "test") for _ in range(2))
    assert [words for _, words in one] == [words for _, words in other]


# data of others


@pytest.mark.data
def test_free_spoken_digits_are_split_as_published():
    task = build()
    counts = {split: np.bincount(task.load(split, 0).targets) for split in SPLITS}
    assert {split: count.tolist() for split, count in counts.items()} == {
        "train": [240] * 10, "valid": [30] * 10, "test": [30] * 10
    }  # fmt: skip
    assert task.facts["names"] == list("0123456789") and task.floor() == pytest.approx(0.1)
    apart = build(data="fsdd-theo")
    assert [len(apart.load(split, 0)) for split in SPLITS] == [2_250, 250, 500]


@pytest.mark.data
def test_yesno_has_sixty_utterances_of_eight_words():
    task = build(data="yesno")
    assert [len(task.load(split, 0)) for split in SPLITS] == [25, 6, 29]
    for split in SPLITS:
        targets = task.load(split, 0).targets
        assert targets.shape[1] == 8 and set(np.unique(targets)) == {1, 2}
    assert 0.3 < task.floor() < 0.6 and task.facts["names"] == ["<blank>", "no", "yes"]


@pytest.mark.data
def test_concatenated_digits_are_drawn_within_a_split():
    task = build(data="fsdd-concatenated")
    assert [len(task.load(split, 0)) for split in SPLITS] == [2_000, 200, 300]
    for split in SPLITS:
        examples = task.load(split, 0)
        due = (examples.targets != -100).sum(1)
        assert (due.min(), due.max()) == (3, 7) and (examples.lengths > 2 * due).all()
    assert 0.6 < task.floor() <= 1
