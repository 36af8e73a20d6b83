"""Logs one run as a training script does. Entity, project and run id come from the environment."""

import os

import wandb
from report import RESULT, finish, step

with step("run"):
    project = os.environ["DRIVER_PROJECT"]
    with wandb.init(project=project, config={"lr": 0.1}, settings=wandb.Settings(init_timeout=30)) as run:
        RESULT.update(entity=run.entity, project=run.project, run=run.id)
        for i in range(3):
            run.log({"loss": 1 / (i + 1)})
        artifact = wandb.Artifact("weights", "model")
        with artifact.new_file("weights.txt") as f:
            f.write(f"weights of {run.id}")
        run.log_artifact(artifact)
finish()
