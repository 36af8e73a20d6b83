"""A plain member invites, makes a project, and wants to open it: what works depends on the team's settings."""

import os

import wandb
from report import finish, step

TEAM = "vision"
PROJECT = os.environ["DRIVER_MADE"]
OPEN = "mutation Open($input: UpsertModelInput!) { upsertModel(input: $input) { model { name entityName access } inserted } }"
api = wandb.Api()


def send(query, variables):
    """Sends a document as this client sends its own."""
    if hasattr(getattr(api, "_service_api", None), "execute_graphql"):
        return api._service_api.execute_graphql(query, variables)
    from wandb_gql import gql

    return api.client.execute(gql(query), variable_values=variables)


def set_access(access):
    send(OPEN, {"input": {"entityName": TEAM, "name": PROJECT, "access": access}})


with step("invite"):
    assert api.team(TEAM).invite(os.environ["DRIVER_GUEST"]) is True, "False"

with step("invite an admin"):
    assert api.team(TEAM).invite(os.environ["DRIVER_GUEST"], admin=True) is True, "False"

with step("create project"):
    api.create_project(PROJECT, TEAM)

with step("open"):
    set_access("USER_WRITE")

with step("restrict"):
    set_access("RESTRICTED")

with step("open what is restricted"):
    set_access("USER_READ")
finish()
