"""Tries every call of the public API's administration, each by itself: what works depends on who calls."""

import os

import wandb
from report import RESULT, finish, step

TEAM = "vision"
MADE = os.environ["DRIVER_MADE"]  # names what is made here, so that nobody else makes it too
GUEST = os.environ["DRIVER_GUEST"]  # who is invited, and by what: a user name or an address
api = wandb.Api()


def as_caller(user):
    """Older clients take the name of a listed key for the key itself, and would ask with that."""
    user._user_api = api
    return user


def member(name):
    return [m for m in api.team(TEAM).members if m.username == name]


with step("find user"):
    found = api.user("vera@acme.test")
    assert found.username == "vera" and found.teams == ["vision"], found._attrs
    assert api.user("nobody@acme.test") is None

with step("find users"):
    assert "vera" in [u.username for u in api.users("acme.test")]
    assert [u.username for u in api.users("ver")] == ["vera"]

with step("create user"):
    made = api.create_user(MADE + "@acme.test")
    assert made.username == MADE and made.email == MADE + "@acme.test", made._attrs
    assert api.user(MADE).email == made.email

with step("create admin"):
    assert api.create_user("chief-" + MADE + "@acme.test", admin=True).admin

with step("create team"):
    team = api.create_team("team-" + MADE)
    assert team.name == "team-" + MADE
    assert [(m.username, m.admin) for m in team.members] == [(api.viewer.username, True)]

with step("create team for another"):
    team = api.create_team("other-" + MADE, "vera")
    assert [(m.username, m.admin) for m in team.members] == [("vera", True)]

with step("read team"):
    assert member("vera") and member("ci-train")[0].account_type == "SERVICE"
    assert not any(m.api_key for m in api.team(TEAM).members)

with step("invite"):
    assert api.team(TEAM).invite(GUEST)
    assert member(GUEST.split("@")[0])[0].admin is False

with step("invite nobody"):
    try:
        assert not api.team(TEAM).invite("nobody-here")
    except Exception as error:
        assert "no user" in str(error) or "403" in str(error), error

with step("remove"):
    assert member(GUEST.split("@")[0])[0].delete()
    assert not member(GUEST.split("@")[0])

with step("service account"):
    account = api.team(TEAM).create_service_account("Bot of " + MADE)
    assert account.name == "Bot-of-" + MADE, account._attrs
    RESULT["key"] = account.api_key
    assert not any(m.api_key for m in api.team(TEAM).members), "shown again"

with step("remove service account"):
    made_accounts = [m for m in api.team(TEAM).members if m.name == "Bot-of-" + MADE]
    assert made_accounts[0].delete()
    assert not member("Bot-of-" + MADE)

with step("own keys"):
    me = as_caller(api.viewer)
    before = me.api_keys
    key = me.generate_api_key("key of " + MADE)
    assert key and key.startswith("wbg-"), key
    again = as_caller(wandb.Api().viewer)
    assert sorted(again.api_keys) == sorted(before + ["key of " + MADE])
    assert again.delete_api_key("key of " + MADE)
    assert sorted(wandb.Api().viewer.api_keys) == sorted(before)

with step("create project"):
    api.create_project("project-" + MADE, TEAM)
    assert "project-" + MADE in [p.name for p in api.projects(TEAM)]
finish()
