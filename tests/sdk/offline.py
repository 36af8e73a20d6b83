"""Logs a run without network; the test syncs it afterwards with the command line."""

import os

import wandb
from report import RESULT, finish, step

with step("run"):
    with wandb.init(mode="offline", project=os.environ["DRIVER_PROJECT"]) as run:
        RESULT["run"] = run.id
        run.log({"loss": 1})
        run.log({"loss": 0.5})
finish()
