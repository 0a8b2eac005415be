"""Ray Tune, a Lightning function trainable, a process for each trial: python tune_lightning.py FOLDER CPUS RUN..."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def trainable(config: dict[str, Any]) -> None:
    """What one process does."""
    sys.path.insert(0, config["code"])
    import torch
    from plain_lightning import train
    from ray import tune

    torch.set_num_threads(1)
    # a folder for each: two that begin at once in one take the same version_N, and 7 of 800 such trials (0 with it)
    # ended with FileExistsError (tensorboardX makes it) or FileNotFoundError (the other's checkpoint is taken away)
    tune.report(train(Path(config["folder"]), config["run"], f"{config['folder']}/logs/{config['run']}"))


if __name__ == "__main__":
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    import ray
    from ray import tune

    folder, cpus, runs = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    found = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"run": tune.grid_search(runs), "folder": folder, "code": str(Path(__file__).parent)},
        run_config=tune.RunConfig(storage_path=f"{folder}/tune", verbose=0),
    ).fit()
    if found.errors:
        sys.exit("\n".join(f"trial {one.config['run']}: {one.error}" for one in found if one.error))
    for one in found:
        print(json.dumps({name: one.metrics[name] for name in ("seconds", "score", "loss")}), flush=True)
    ray.shutdown()
