"""Logs one run in phases. The test sees that a phase began, changes the world, and lets the next one
begin; meanwhile the run logs on, as training does."""

import os
import pathlib
import time

import wandb
from report import RESULT, finish, log_artifact, step

FOLDER = pathlib.Path(os.environ["DRIVER_FOLDER"])
PHASES = int(os.environ["DRIVER_PHASES"])
GIVE_UP = time.monotonic() + 150

# Metrics leave every second and not every 15, so that every phase has requests. Old clients cut
# fractions off.
SETTINGS = wandb.Settings(init_timeout=30, x_file_stream_transmit_interval=1)

with step("run"):
    lines = 0
    with wandb.init(project=os.environ["DRIVER_PROJECT"], settings=SETTINGS) as run:
        RESULT.update(entity=run.entity, project=run.project, run=run.id)
        for phase in range(PHASES):
            (FOLDER / f"began-{phase}").touch()
            while not (FOLDER / f"go-{phase}").exists():
                if time.monotonic() > GIVE_UP:
                    raise TimeoutError(f"phase {phase} did not end")
                run.log({"loss": 1 / (lines + 1), "phase": phase})
                lines += 1
                time.sleep(0.2)
        log_artifact(run)
    RESULT["lines"] = lines
finish()
