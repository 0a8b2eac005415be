"""Hours, cost and the best split of a benchmark on a cluster, from what its trials take on this machine.

pace.py     seconds of an update, an evaluation and the rest: short runs of the trials themselves
crowd.py    what the command adds, and what trials at once cost one another
reduce.py   the alpha-beta model of an all-reduce
events.py   the cluster, second by second: gangs, one driver, nodes that fail
split.py    every way to split the cluster's slots between trials and workers
told.py     the lines that `harness plan` prints
"""
