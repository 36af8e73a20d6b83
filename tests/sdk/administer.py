"""Creates a team, people and a service account through the public API, as an admin."""

import os

import wandb
from report import RESULT, finish, step

TEAM = os.environ["DRIVER_TEAM"]
api = wandb.Api()

with step("create user"):
    user = api.create_user(os.environ["DRIVER_EMAIL"])
    assert api.user(os.environ["DRIVER_EMAIL"]).username == user.username

with step("create team"):
    team = api.create_team(TEAM, api.viewer.username)
    assert team.name == TEAM

with step("invite"):
    assert api.team(TEAM).invite(os.environ["DRIVER_EMAIL"])
    assert user.username in [m.username for m in api.team(TEAM).members]

with step("service account"):
    account = api.team(TEAM).create_service_account("bot-of-" + TEAM)
    RESULT["key"] = account.api_key
    assert len(account.api_key) >= 40

with step("remove"):
    [member] = [m for m in api.team(TEAM).members if m.username == user.username]
    assert member.delete()
    assert user.username not in [m.username for m in api.team(TEAM).members]

with step("own keys"):
    viewer = api.viewer
    viewer._user_api = api  # older clients take the name of a listed key for the key itself
    key = viewer.generate_api_key("made by a test")
    assert key and len(key) >= 40

with step("create project"):
    api.create_project("made-by-hand", TEAM)
    assert "made-by-hand" in [p.name for p in api.projects(TEAM)]
finish()
