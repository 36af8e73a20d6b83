"""Runs scim2-tester against SCIM_URL with the key SCIM_KEY, and prints every check that is no success."""

import os
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

http = Client(base_url=os.environ["SCIM_URL"], headers={"Authorization": "Bearer " + os.environ["SCIM_KEY"]}, timeout=60)
results = check_server(SyncSCIMClient(http))
for result in results:
    if result.status != Status.SUCCESS:
        print("NOT", result.status.name, result.resource_type or "", result.title, "|", str(result.reason).replace("\n", " ")[:600])
print("CHECKS", len(results), sum(result.status == Status.SUCCESS for result in results))
sys.exit(0)
