"""Does what a team does with W&B in a day, and reads back what it wrote."""

import os
import pathlib
import tempfile

import wandb
from report import RESULT, finish, step

ENTITY = os.environ["WANDB_ENTITY"]
PROJECT = os.environ["DRIVER_PROJECT"]
PATH = f"{ENTITY}/{PROJECT}"
USER = os.environ["DRIVER_USER"]
HERE = pathlib.Path(tempfile.mkdtemp())
RUN = os.environ["DRIVER_RUN"]

(HERE / "weights.txt").write_text("weights")
(HERE / "note.txt").write_text("hello")
(HERE / "inner").mkdir()
(HERE / "inner" / "zeros.bin").write_bytes(bytes(1000))


def expect(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


with step("log"):
    with wandb.init(project=PROJECT, id=RUN, name="first", group="g", tags=["a"], config={"lr": 0.1}) as run:
        for i in range(5):
            run.log({"loss": 1 / (i + 1), "i": i})
        run.summary["best"] = 42
        artifact = wandb.Artifact("model", "model", metadata={"k": 1})
        artifact.add_file(str(HERE / "weights.txt"))
        artifact.add_dir(str(HERE / "inner"), name="inner")
        run.log_artifact(artifact, aliases=["best"])
        artifact.wait(60)
        run.save(str(HERE / "note.txt"), base_path=str(HERE), policy="now")

for mode in ("must", "allow"):
    with step(f"resume {mode}"):
        with wandb.init(project=PROJECT, id=RUN, resume=mode) as run:
            assert run.resumed, "the run is not resumed"
            expect(run.config["lr"], 0.1)
            expect(run.summary.get("best"), 42)
            run.log({"loss": 0.01, "i": 9})

with step("use artifact"):
    with wandb.init(project=PROJECT, job_type="eval") as run:
        used = run.use_artifact("model:best")
        used.download(root=str(HERE / "used"))
        expect((HERE / "used" / "weights.txt").read_text(), "weights")
        expect(len((HERE / "used" / "inner" / "zeros.bin").read_bytes()), 1000)
        run.log({"table": wandb.Table(columns=["x", "y"], data=[[1, 2], [3, 4]])})
        run.link_artifact(used, "approved", aliases=["production"])

api = wandb.Api()

with step("read runs"):
    assert RUN in [r.id for r in api.runs(PATH)]
    run = api.run(f"{PATH}/{RUN}")
    expect(run.state, "finished")
    expect(run.config["lr"], 0.1)
    expect(run.summary["best"], 42)
    expect(run.user.username, USER)
    expect(len(run.history(pandas=False)), 7)
    expect(len(list(run.scan_history())), 7)
    expect(len(list(run.scan_history(keys=["loss"]))), 7)

with step("read files"):
    names = [f.name for f in api.run(f"{PATH}/{RUN}").files()]
    assert "note.txt" in names and "wandb-metadata.json" in names, names
    api.run(f"{PATH}/{RUN}").file("note.txt").download(root=str(HERE / "files"), replace=True)
    expect((HERE / "files" / "note.txt").read_text(), "hello")

with step("upload a file afterwards"):
    api.run(f"{PATH}/{RUN}").upload_file(str(HERE / "weights.txt"), root=str(HERE))
    assert "weights.txt" in [f.name for f in api.run(f"{PATH}/{RUN}").files()]

with step("read artifacts"):
    artifact = api.artifact(f"{PATH}/model:best")
    expect(artifact.version, "v0")
    expect(artifact.metadata, {"k": 1})
    artifact.download(root=str(HERE / "downloaded"))
    expect((HERE / "downloaded" / "weights.txt").read_text(), "weights")
    expect(artifact.logged_by().id, RUN)
    assert [r.id for r in artifact.used_by()], "nobody used the artifact"
    expect([v.version for v in api.artifacts("model", f"{PATH}/model")], ["v0"])
    assert "model" in [t.name for t in api.artifact_types(PATH)]
    expect(sorted(f.name for f in artifact.files()), ["inner/zeros.bin", "weights.txt"])
    expect([a.name for a in api.run(f"{PATH}/{RUN}").logged_artifacts()], ["model:v0"])
    assert api.artifact(f"{PATH}/approved:production").name.startswith("approved:")

with step("change an artifact"):
    artifact = api.artifact(f"{PATH}/model:best")
    artifact.aliases.append("extra")
    artifact.description = "described"
    artifact.save()
    assert "extra" in api.artifact(f"{PATH}/model:v0").aliases

with step("change a run"):
    run = api.run(f"{PATH}/{RUN}")
    run.tags.append("later")
    run.notes = "noted"
    run.config["added"] = 1
    run.update()
    run = wandb.Api().run(f"{PATH}/{RUN}")
    assert "later" in run.tags and run.config["added"] == 1, (run.tags, run.config)

with step("list projects"):
    assert PROJECT in [p.name for p in api.projects(ENTITY)]
    api.project(PROJECT, ENTITY).id

with step("who am I"):
    RESULT["viewer"] = api.viewer.username
    assert ENTITY in api.viewer.teams, api.viewer.teams

with step("read the team"):
    members = [m.username for m in api.team(ENTITY).members]
    assert USER in members, members

with step("sweep"):
    sweep = wandb.sweep({"method": "grid", "parameters": {"lr": {"values": [0.1, 0.2]}}}, project=PROJECT, entity=ENTITY)

    def train():
        with wandb.init() as run:
            run.log({"loss": run.config["lr"]})

    wandb.agent(sweep, function=train, count=2, project=PROJECT, entity=ENTITY)
    wandb.setup()
    runs = wandb.Api().sweep(f"{PATH}/{sweep}").runs
    expect(sorted(wandb.Api().run(f"{PATH}/{r.id}").config["lr"] for r in runs), [0.1, 0.2])

with step("delete"):
    run = wandb.Api().run(f"{PATH}/{RUN}")
    run.file("note.txt").delete()
    run.delete()
    assert RUN not in [r.id for r in wandb.Api().runs(PATH)]
finish()
