"""DigitalOcean's own client against the imitated API: python official_client.py URL TOKEN CERTIFICATE. Fails with what was wrong."""

import sys
import time

from azure.core.exceptions import HttpResponseError
from pydo import Client

url, token, certificate = sys.argv[1:]


def client(token):
    return Client(token=token, endpoint=url, connection_verify=certificate, retry_total=0)


def status_of(error):
    """The status of a refusal: some are raised, some are given back."""
    return error.status_code if isinstance(error, HttpResponseError) else error.get("id")


def refusal(call):
    try:
        return status_of(call())
    except HttpResponseError as error:
        return status_of(error)


def until(what, condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)


c = client(token)
assert c.account.get()["account"]["status"] == "active"
assert any(size["slug"] == "s-1vcpu-1gb" for size in c.sizes.list()["sizes"])
assert any(region["slug"] == "fra1" for region in c.regions.list()["regions"])
assert c.vpcs.list()["vpcs"][0]["default"]
key = c.ssh_keys.create(body={"name": "me", "public_key": "ssh-ed25519 AAAA me"})["ssh_key"]

order = {"region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64", "tags": ["ours"]}
made = c.droplets.create(body={**order, "name": "one", "ssh_keys": [key["id"]], "user_data": "#!/bin/sh\n"})
one = made["droplet"]["id"]
assert made["droplet"]["status"] == "new" and made["droplet"]["networks"]["v4"] == []
until("active", lambda: c.droplets.get(droplet_id=one)["droplet"]["status"] == "active")
action = made["links"]["actions"][0]["id"]
assert c.actions.get(action_id=action)["action"]["status"] == "completed"
kinds = {network["type"] for network in c.droplets.get(droplet_id=one)["droplet"]["networks"]["v4"]}
assert kinds == {"public", "private"}, kinds

several = c.droplets.create(body={**order, "names": ["two", "three"]})
assert [droplet["name"] for droplet in several["droplets"]] == ["two", "three"]
assert {droplet["name"] for droplet in c.droplets.list(tag_name="ours")["droplets"]} == {"one", "two", "three"}
assert len(c.droplets.list(name="two")["droplets"]) == 1
first = c.droplets.list(per_page=2, page=1)
assert len(first["droplets"]) == 2 and first["meta"]["total"] == 3 and "page=2" in first["links"]["pages"]["next"]
until("all active", lambda: all(d["status"] == "active" for d in c.droplets.list()["droplets"]))

c.tags.create(body={"name": "more"})
resources = {"resources": [{"resource_id": str(one), "resource_type": "droplet"}]}
c.tags.assign_resources(tag_id="more", body=resources)
assert [droplet["name"] for droplet in c.droplets.list(tag_name="more")["droplets"]] == ["one"]
c.tags.unassign_resources(tag_id="more", body=resources)
c.tags.delete(tag_id="more")
assert c.droplets.list(tag_name="more")["droplets"] == []

reboot = c.droplet_actions.post(droplet_id=one, body={"type": "reboot"})["action"]["id"]
until("rebooted", lambda: c.actions.get(action_id=reboot)["action"]["status"] == "completed")
snapshot = c.droplet_actions.post(droplet_id=one, body={"type": "snapshot", "name": "baked"})["action"]["id"]
until("baked", lambda: c.actions.get(action_id=snapshot)["action"]["status"] == "completed")
images = c.images.list(private=True)["images"]
assert [image["name"] for image in images] == ["baked"], images
c.images.delete(image_id=images[0]["id"])

firewall = c.firewalls.create(
    body={
        "name": "wall",
        "tags": ["ours"],
        "inbound_rules": [{"protocol": "tcp", "ports": "22", "sources": {"addresses": ["192.0.2.0/24"]}}],
    }
)["firewall"]
assert [wall["name"] for wall in c.firewalls.list()["firewalls"]] == ["wall"]
c.firewalls.delete(firewall_id=firewall["id"])

c.droplets.destroy(droplet_id=one)
assert refusal(lambda: c.droplets.get(droplet_id=one)) in (404, "not_found")
assert refusal(lambda: c.droplets.destroy(droplet_id=one)) in (404, "not_found")
assert refusal(lambda: c.droplets.create(body={**order, "name": "x", "size": "huge"})) in (422, "unprocessable_entity")
assert refusal(lambda: client("wrong").account.get()) in (401, "unauthorized")
c.droplets.destroy_by_tag(tag_name="ours")
assert c.droplets.list()["droplets"] == []
print("ok")
