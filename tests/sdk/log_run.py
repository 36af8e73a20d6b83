"""Logs one run as a training script does. Entity, project and run id come from the environment."""

import os

import wandb
from report import RESULT, finish, log_artifact, step

INIT_TIMEOUT = float(os.environ.get("DRIVER_INIT_TIMEOUT", "30"))

with step("run"):
    project = os.environ["DRIVER_PROJECT"]
    with wandb.init(project=project, config={"lr": 0.1}, settings=wandb.Settings(init_timeout=INIT_TIMEOUT)) as run:
        RESULT.update(entity=run.entity, project=run.project, run=run.id)
        for i in range(3):
            run.log({"loss": 1 / (i + 1)})
        log_artifact(run)
finish()
