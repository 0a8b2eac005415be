"""The plan's parts against closed forms: the simulated cluster, the fitted network, what is one kind of trial."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from harness import cost
from harness.errors import UserError
from harness.jobs.cluster import Cluster, Node
from harness.plan import build, told
from harness.plan.crowd import Crowd, Gang
from harness.plan.events import Farm, simulate
from harness.plan.pace import Pace, shape, share
from harness.plan.reduce import Network, fit
from harness.plan.split import Measured, option, seconds_of
from harness.trial import Trial

TRIAL = Trial(task={"name": "adding"}, cell={"name": "lstm"}, examples=1000)
PACE = Pace(start=0.5, update=0.01, evaluation=0.1, updates=100, evaluations=5, parameters=1000)
CROWD = Crowd(start_up=10.0, between=0.1, control=0.02, factor=1.2)


def test_equal_trials_run_in_rounds():
    outcome = simulate([10.0] * 12, 1, Farm(nodes=2, slots=2))
    assert outcome.seconds == 30 and outcome.busy == 1.0 and outcome.restarts == 0


def test_a_gang_waits_until_all_of_it_fits():
    """Three slots hold one gang of two at a time, whichever nodes they are on."""
    assert simulate([5.0] * 3, 2, Farm(nodes=3, slots=1)).seconds == 15
    assert simulate([5.0] * 3, 3, Farm(nodes=3, slots=1)).seconds == 15
    with pytest.raises(ValueError, match="needs 4 slots, and the cluster has 3"):
        simulate([5.0], 4, Farm(nodes=3, slots=1))


def test_a_driver_that_is_too_slow_sets_the_pace():
    """Trials of no length on any number of slots: the driver's work for each, one after the other."""
    outcome = simulate([0.0] * 100, 1, Farm(nodes=10, slots=10, control=0.5))
    assert outcome.seconds == pytest.approx(50) and outcome.driver == pytest.approx(1)


def test_no_order_of_trials_beats_the_bound():
    draw = random.Random(0)
    for slots in (1, 3, 8):
        seconds = [draw.uniform(1, 20) for _ in range(50)]
        bound = max(sum(seconds) / slots, *seconds)
        found = simulate(seconds, 1, Farm(1, slots)).seconds
        assert bound <= found <= bound + max(seconds), "Graham's bound for lists"


@pytest.mark.parametrize("seed", range(5))
def test_failures_cost_what_was_not_checkpointed_and_every_trial_ends(seed):
    calm = Farm(nodes=4, slots=2, checkpoint=20.0)
    rough = Farm(4, 2, mean_time_to_failure=2000.0, repair=60.0, detection=10.0, checkpoint=20.0)
    before, after = simulate([500.0] * 40, 1, calm, seed), simulate([500.0] * 40, 1, rough, seed)
    assert after.failures > 0 and after.restarts > 0
    assert after.seconds > before.seconds
    assert after.lost <= after.restarts * 20.0, "a failure loses at most what came after the last checkpoint"
    again = simulate([500.0] * 40, 1, rough, seed)
    assert after == again, "one seed, one outcome"


def test_ten_thousand_trials_on_a_thousand_gpus():
    """Long trials keep a thousand slots busy through failures; short ones wait for the driver, which the plan names."""
    farm = Farm(nodes=125, slots=8, control=0.016, mean_time_to_failure=200 * 3600.0)
    long, short = simulate([1800.0] * 10_000, 1, farm), simulate([2.0] * 10_000, 1, farm)
    assert long.busy > 0.9 and long.failures > 0 and long.driver < 0.05
    assert short.driver > 0.95 and short.busy < 0.2


def test_the_model_of_an_all_reduce_is_found_again():
    """Ring over two: T = 2 alpha + n beta. With more workers the steps grow, and what each sends shrinks."""
    true = Network(latency=40e-6, bandwidth=1e9)
    sizes = [1024 * 4**k for k in range(8)]
    found = fit(sizes, [true.seconds(size, 2) for size in sizes])
    assert found.latency == pytest.approx(true.latency) and found.bandwidth == pytest.approx(true.bandwidth)
    assert true.seconds(10**9, 1) == 0
    assert true.seconds(10**9, 4) == pytest.approx(6 * 40e-6 + 6 / 4 * 1.0)


def test_a_trial_on_a_gang_adds_its_all_reduces():
    net, around = Network(1e-3, 1e9), CROWD
    measured = Measured({1: [PACE], 2: [PACE]}, around, net, gang=Gang(20.0, 3.0))
    alone = seconds_of(PACE, 1, measured, 1.0, 1.0)
    assert alone == pytest.approx(0.5 + 100 * 0.01 + 5 * 0.1)
    assert seconds_of(PACE, 2, measured, 1.0, 1.0) == pytest.approx(alone + 3 + 100 * net.seconds(4000, 2))
    assert seconds_of(PACE, 1, measured, 4.0, 1.0) == pytest.approx(alone / 4)
    quiet = replace(measured, crowd=replace(CROWD, factor=1.0))
    whole = option(2, quiet, Farm(1, 2), most=1).seconds  # the start of gangs is another one than that of trials
    assert whole == pytest.approx(20 + seconds_of(PACE, 2, quiet, 1.0, 1.0) + CROWD.between)


def test_one_at_a_time_is_not_slowed_by_others():
    measured = Measured({1: [PACE] * 4}, CROWD, Network(0, math.inf))
    one, both = (option(1, measured, Farm(1, 2), most=most) for most in (1, 2))
    assert one.seconds == pytest.approx(10 + 4 * (2.0 + 0.1), rel=0.01)
    assert both.seconds == pytest.approx(10 + 2 * (2.0 * 1.2 + 0.1), rel=0.05)


def test_a_trial_that_was_not_measured_is_as_long_as_its_shapes_say_and_has_its_own_updates():
    other = TRIAL.model_copy(update={"hidden_size": 128, "examples": 4000})
    found, (a, b) = PACE.longer(other, TRIAL), (cost.estimate(one) for one in (other, TRIAL))
    assert found.seconds == pytest.approx(PACE.seconds * a.seconds / b.seconds)
    assert found.updates == a.updates != PACE.updates and found.parameters == cost.parameters(other)


def test_what_changes_no_time_is_one_kind():
    same = TRIAL.model_copy(update={"seed": 3, "learning_rate": 0.1, "clip_norm": None})
    clips = [TRIAL.model_copy(update={"clip_norm": norm}) for norm in (0.5, 2.0)]
    assert shape(same) == shape(TRIAL) != shape(clips[0]) == shape(clips[1])
    assert shape(TRIAL.model_copy(update={"hidden_size": 32})) != shape(TRIAL)


def test_a_worker_takes_its_share_of_each_batch():
    part = share(TRIAL, 4)
    assert (part.batch_size, part.examples) == (8, 250)
    assert build.widths([TRIAL], 1000) == [1, 2, 4, 8, 16, 32]
    assert build.widths([TRIAL], 3) == [1, 2]


def test_the_place_is_what_its_file_says():
    node = Node(cpus=16, gpus=8, count=125, speed=20, price=12.0, hours_between_failures=200)
    cluster = Cluster(dashboard="http://127.0.0.1:8265", results="/shared/results", node=node)
    place = build.place_of(cluster, "big.yaml", 1)
    assert (place.farm.nodes, place.farm.slots, place.speed, place.price) == (125, 8, 20, 1500)
    assert place.farm.mean_time_to_failure == 200 * 3600
    with pytest.raises(UserError, match="8 threads, and a node has 4 CPUs"):
        build.place_of(cluster.model_copy(update={"node": Node(cpus=4)}), "small.yaml", 8)
    with pytest.raises(UserError, match="needs to know its nodes"):
        build.place_of(cluster.model_copy(update={"node": None}), "none.yaml", 1)


def test_the_plan_names_what_breaks_first():
    slow = replace(CROWD, between=0.2, control=0.2)
    measured = build.repeated(Measured({1: [PACE]}, slow, Network(0, math.inf)), 10_000)
    place = told.Priced("big.yaml", Farm(125, 8), 1.0, 100.0)
    text = "\n".join(told.lines("x", 10_000, measured, build.options(measured, place, None), place))
    assert "10,000 trials, 1,000 slots on 125 nodes" in text
    assert "380 times a second, less than" in text
    assert "so the driver breaks first" in text and "one driver serves 5 trials a second" in text
