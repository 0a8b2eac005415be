"""Benchmarks: what a file's grids and overrides expand to, and what all of its faults say."""

from __future__ import annotations

import pytest

from harness import spec
from harness.errors import UserError
from harness.trial import LATER, Trial

TEXT = """\
question: Which cell?
seeds: 2
set:
  hidden_size: 8
  examples: 320
sweep:
  - task: {name: digits, steps: 8}
    cell: [elman, {name: lstm, forget_bias: [0, 1.0]}, feedforward]
    bptt_length: [4, null]
  - task: {name: adding, length: [10, 20]}
    cell: gru
    hidden_size: 16
    clip_norm: 1.0
"""


@pytest.fixture
def write(tmp_path):
    """Write a benchmark and return its path."""

    def to_file(text: str = TEXT, name: str = "sums.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return to_file


@pytest.fixture
def refused(write):
    """Load a text that must be refused; return its faults, with the file called x.yaml."""

    def faults(text: str = TEXT, *overrides: str) -> list[str]:
        path = write(text)
        with pytest.raises(UserError) as caught:
            spec.load(path, overrides)
        return [str(fault).replace(str(path), "x.yaml").replace("\n  ", " | ") for fault in caught.value.faults]

    return faults


def having(benchmark, **settings):
    """Trials with these settings."""
    return [t for t in benchmark.trials if all(getattr(t, name) == value for name, value in settings.items())]


def test_a_grid_is_the_product_of_its_lists_over_set(write):
    benchmark = spec.load(write())
    digits, adding = having(benchmark, hidden_size=8), having(benchmark, hidden_size=16)
    assert len(digits) == 2 * (2 + 2 * 2 + 1)  # a feed-forward net has no BPTT length: one trial, not two
    assert len(adding) == 2 * 2 and {t.task["length"] for t in adding} == {10, 20}
    assert len({t.id for t in benchmark.trials}) == len(benchmark.trials) == 18
    assert {t.cell["forget_bias"] for t in digits if t.cell["name"] == "lstm"} == {0.0, 1.0}
    assert all(t == t.normalised() and t.examples == 320 for t in benchmark.trials)
    assert (benchmark.name, benchmark.report_name, benchmark.overridden) == ("sums", "sums", False)


def test_each_variant_runs_once_before_any_runs_twice(write):
    seeds = [trial.seed for trial in spec.load(write()).trials]
    assert seeds == sorted(seeds)


def test_ids_are_those_of_the_settings_and_not_of_the_file(write):
    one = {trial.id for trial in spec.load(write()).trials}
    lines = TEXT.replace("hidden_size: 8\n  examples: 320", "examples: 320\n  hidden_size: 8").replace("null", "~, 4")
    other = spec.load(write("name: other\n" + lines.replace("Which", "What"), "b.yaml"))
    assert {trial.id for trial in other.trials} == one
    assert len(other.trials) == len({trial.canonical() for trial in other.trials}) == 18


def test_seeds_as_a_number_or_a_list(write):
    assert {t.seed for t in spec.load(write(TEXT.replace("seeds: 2", "seeds: [7, 3]"))).trials} == {7, 3}
    assert {t.seed for t in spec.load(write(TEXT.replace("seeds: 2\n", ""))).trials} == {0}
    assert {t.seed for t in spec.load(write(TEXT.replace("seeds: 2", "seeds: 3"))).trials} == {0, 1, 2}


def test_one_mapping_or_set_alone_is_a_grid(write):
    head = "question: Q?\nset: {task: adding, examples: 10%s}\n"
    assert len(spec.load(write(head % "" + "sweep: {cell: [gru, lstm]}")).trials) == 2
    assert len(spec.load(write(head % ", cell: gru")).trials) == 1


@pytest.mark.parametrize(
    ("override", "count", "what"),
    [
        ("learning_rate=1e-3", 18, lambda t: t.learning_rate == 0.001),
        ("clip_norm=1e3", 18, lambda t: t.clip_norm == 1000.0),
        ("hidden_size=4", 18, lambda t: t.hidden_size == 4),
        ("bptt_length=[2,null]", 22, lambda t: t.bptt_length in (2, None)),
        ("cell=elman", 8, lambda t: t.cell["name"] == "elman"),
        ("cell=[elman,lstm]", 24, lambda t: t.cell["name"] != "gru"),
        ("cell={name: elman, activation: relu}", 8, lambda t: t.cell["activation"] == "relu"),
        ("cell.activation=relu", 18, lambda t: t.cell.get("activation", "relu") == "relu"),
        ("cell.forget_bias=2", 14, lambda t: t.cell.get("forget_bias", 2.0) == 2.0),
        ("task.length=20", 16, lambda t: t.task.get("length", 20) == 20),
        ("task=adding", 32, lambda t: t.task["name"] == "adding" and t.task["length"] in (10, 20)),
        ("seeds=3", 27, lambda t: t.seed < 3),
        ("seeds=[5]", 9, lambda t: t.seed == 5),
        ("tokens=1_000", 18, lambda t: (t.tokens, t.examples) == (1000, None)),
        ("clip_value=0.5", 18, lambda t: (t.clip_value, t.clip_norm) == (0.5, None)),
        ("examples=64", 18, lambda t: t.examples == 64),
        ("kernel=loop", 18, lambda t: t.kernel == ("loop" if t.cell["name"] != "feedforward" else "auto")),
        ("bidirectional=true", 18, lambda t: t.bidirectional == (t.cell["name"] != "feedforward")),
    ],
)
def test_an_override_replaces_a_setting_everywhere(write, override, count, what):
    benchmark = spec.load(write(), [override])
    assert len(benchmark.trials) == count and all(map(what, benchmark.trials))
    assert benchmark.overridden and benchmark.name == "sums"


def test_overrides_add_up_in_any_order(write):
    path = write()
    one = spec.load(path, ["cell=elman", "cell.activation=relu", "examples=64", "seeds=1"])
    two = spec.load(path, ["seeds=1", "examples=64", "cell.activation=relu", "cell=elman"])
    assert one.trials == two.trials and one.report_name == two.report_name
    assert {t.cell["activation"] for t in one.trials} == {"relu"}


def test_an_overridden_report_has_a_name_of_its_own(write):
    path = write()
    names = [spec.load(path, o).report_name for o in ([], ["seeds=1"], ["seeds=3"], ["seeds=3"], ["name=x"])]
    assert names[0] == "sums" and names[1].startswith("sums-set-") and names[2] == names[3] != names[1]
    assert names[4] == "x"  # the whole benchmark under another name


def test_all_faults_of_a_file_come_at_once_with_line_key_and_what_is_allowed(refused):
    text = """\
question: 7
sedes: 3
seeds: 0
set:
  hidden_size: 0
  learning_rate: fast
  seed: 1
sweep:
  - task: {name: adding, lenght: 5}
    cell: [elmann, {name: elman, activation: [tanh, relux]}]
    layers: [1, -2, 2.0]
    hiden_size: 3
  - 5
"""
    found = refused(text)
    lines = [
        ("2: sedes", "unknown key 'sedes'", "did you mean 'seeds'?"),
        ("1: question", "got 7", "the question"),
        ("3: seeds", "got 0", "a whole number from 1 to"),
        ("5: set.hidden_size", "got 0", "allowed: a whole number from 1 to 65,536"),
        ("6: set.learning_rate", "got 'fast'", "allowed: a number greater than 0"),
        ("7: set.seed", "`seed` is not set here", "`seeds`"),
        ("9: sweep[0].task.lenght", "unknown setting of task 'adding': 'lenght'", "did you mean 'length'?"),
        ("10: sweep[0].cell[0]", "unknown cell 'elmann'", "did you mean 'elman'?"),
        ("10: sweep[0].cell[1].activation[1]", "got 'relux'", "allowed: tanh, relu"),
        ("11: sweep[0].layers[1]", "got -2", "from 1 to 64"),
        ("11: sweep[0].layers[2]", "got 2.0", "try: 2"),
        ("12: sweep[0].hiden_size", "unknown setting 'hiden_size'", "did you mean 'hidden_size'?"),
        ("13: sweep[1]", "got 5", "a mapping of settings"),
    ]
    assert len(found) == len(lines), "\n".join(found)
    for place, what, allowed in lines:
        assert any(f.startswith(f"x.yaml:{place}: {what}") and allowed in f for f in found), (place, found)


def test_what_other_tools_call_a_setting_is_answered_with_its_name_here_and_the_list_is_said_once(refused):
    found = refused("question: Q?\nset: {lr: 0.1, clip: 1, epochs: 3, seeds: 2}\nsweep: {task: adding, cell: gru}")
    answers = {"lr": "'learning_rate'", "clip": "'clip_norm'", "epochs": "'examples'", "seeds": "`seeds` at the top"}
    assert len(found) == len(answers)
    for name, answer in answers.items():
        assert any(f"unknown setting '{name}'" in fault and f"did you mean {answer}" in fault for fault in found)
    assert sum("allowed: task, cell, hidden_size" in fault for fault in found) == 1


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "x.yaml:1", "the file is empty"),
        ("# nothing\n", "x.yaml:1", "the file is empty"),
        ("- a\n- b", "x.yaml:1", "got ['a', 'b'] | allowed: a mapping with the keys question,"),
        ("just words", "x.yaml:1", "got 'just words'"),
        ("question: Q?\nsweep: []", "x.yaml:2: sweep", "empty list"),
        ("question: Q?\nsweep: {task: adding, examples: 1, cell: []}", "x.yaml:2: sweep.cell", "empty list"),
        ("question: Q?\nsweep: {task: adding, examples: 1}", "x.yaml:2: sweep", "no cell"),
        ("question: Q?\nsweep: {cell: gru, examples: 1}", "x.yaml:2: sweep", "no task"),
        ("question: Q?\nsweep: {task: adding, cell: gru}", "x.yaml:2: sweep", "exactly one budget"),
        ("question: Q?\nsweep: {task: adding, cell: gru, examples: 1, tokens: 1}", "x.yaml:2: sweep", "exactly one"),
        ("question: ''\nsweep: {task: adding, cell: gru, examples: 1}", "x.yaml:1: question", "got ''"),
        ('question: "\\e[31m"\nset: {task: adding, cell: gru, examples: 1}', "x.yaml:1: question", "printable"),
        ("set: {task: adding, cell: gru, examples: 1}", "x.yaml:1: question", "no question"),
        ("question: Q?\nset: 3", "x.yaml:2: set", "got 3"),
        (TEXT.replace("seeds: 2", "seeds: [1, 2, 1]"), "x.yaml:2: seeds", "seed 1 stands in the list twice"),
        (TEXT.replace("seeds: 2", "seeds: []"), "x.yaml:2: seeds", "empty list"),
        (TEXT.replace("seeds: 2", "seeds: [-1]"), "x.yaml:2: seeds[0]", "got -1"),
        (TEXT.replace("seeds: 2", "seeds: true"), "x.yaml:2: seeds", "got true"),
        (TEXT.replace("seeds: 2", "seeds: 1000000000000"), "x.yaml:2: seeds", "from 1 to 100,000"),
        (TEXT.replace("gru", "3"), "x.yaml:11: sweep[1].cell", "a name, or {name: ..., its settings}; names: elman"),
        (TEXT.replace("gru", "{activation: tanh}"), "x.yaml:11: sweep[1].cell", "a name, or {name: ..."),
        (TEXT.replace("gru", "{name: gru, x: 1}"), "x.yaml:11: sweep[1].cell.x", "unknown setting of cell 'gru': 'x'"),
        (
            TEXT.replace("    cell: gru\n", "    cell: feedforward\n    kernel: fused\n"),
            "x.yaml:10: sweep[1]",
            "kernel",
        ),
    ],
)
def test_each_kind_of_fault_names_its_place(refused, text, place, words):
    (fault,) = refused(text)
    assert fault.startswith(f"{place}: ") and words in fault


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("hidden_size=0", "got 0 | allowed: a whole number from 1 to 65,536"),
        ("hidden_size=1e3", "got 1000.0"),
        ("hidden_size=1 000", "got '1 000'"),
        ("hiden_size=1", "unknown setting 'hiden_size'"),
        ("cell=elmann", "did you mean 'elman'?"),
        ("cell.activaton=relu", "did you mean 'activation'?"),
        ("cell.=relu", "unknown setting"),
        ("task.window=3", "unknown setting of this benchmark's tasks: 'window'"),
        ("seed=1", "did you mean 'seeds'?"),
        ("seeds=0", "got 0"),
        ("clip_norm=", "try: --set clip_norm=null"),
        ("clip_norm", "no value"),
        ("=3", "unknown setting ''"),
        ("cell=!!python/name:os.system", "tags are not read"),
        ("cell=[&a gru, *a]", "anchor &a"),
        ("learning_rate=.nan", "not a finite number"),
        ("learning_rate=1e999", "not a number of a sensible size"),
        ("layers=[1", "not valid YAML"),
        ("name=../x", "cannot name a benchmark"),
    ],
)
def test_a_fault_of_an_override_names_the_override(refused, override, words):
    found = refused(TEXT, override)
    assert all(fault.startswith(f"--set {override}: ") for fault in found) and words in found[0]


def test_too_many_trials_are_refused_before_they_are_made(refused):
    sizes = list(range(1, 2_000))
    text = TEXT.replace("hidden_size: 8", f"hidden_size: {sizes}\n  layers: {list(range(1, 65))}")
    assert refused(text) == ["x.yaml:7: sweep: 2,047,232 trials | allowed: at most 100,000 in one benchmark"]


def test_the_file_names_a_benchmark_that_has_no_name(write, refused):
    assert spec.load(write(name="a-b.yaml")).name == "a-b"
    with pytest.raises(UserError, match="try: name: my-sums"):
        spec.load(write(name="My Sums.yaml"))
    assert "try: name: '2024'" in refused("name: 2024\n" + TEXT)[0]


def test_ids_of_stored_records_never_change() -> None:
    """An id of the first release, in numbers: settings that are added since (LATER) must not touch it."""
    trial = Trial(task={"name": "adding"}, cell={"name": "lstm"}, examples=1000)
    assert trial.id == "85787d202940c90a"
    for name in LATER:
        assert name not in trial.canonical(), name
    assert Trial.from_canonical(trial.canonical()) == trial


@pytest.mark.parametrize(
    ("written", "pack"), [("", "off"), ("pack: off", "off"), ("pack: auto", "auto"), ("pack: 16", "16")]
)
def test_a_file_may_say_what_trains_together_and_no_id_hangs_on_it(write, written, pack):
    found = spec.load(write(f"question: q\nsweep: {{task: adding, cell: [lstm, gru], examples: 100}}\n{written}"))
    plain = spec.load(write("question: q\nsweep: {task: adding, cell: [lstm, gru], examples: 100}"))
    assert found.pack == pack and found.trials == plain.trials


@pytest.mark.parametrize("pack", ["1", "0", "5000", "true", "all", "[4]"])
def test_what_is_no_size_of_a_pack_is_a_fault_of_the_file(refused, pack):
    (said,) = refused(f"question: q\npack: {pack}\nsweep: {{task: adding, cell: lstm, examples: 100}}")
    assert "pack: got" in said and "a whole number from 2 to 4,096, or auto, off" in said
