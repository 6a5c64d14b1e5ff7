"""Services and streams on a machine without an init of ours: they come back, and they end where they run."""

from __future__ import annotations

from tests.inventory.machines import Machines
from tests.inventory.owner import Owner

# Run in the machines' network, as only there the machine can be reached.
SCRIPT = """
import sys
from pathlib import Path
from fixtures.providers.inventory.provider import InventoryLab
from fixtures.waiting import NotYet, limit, wait_for
from overlab.errors import NotHereError, NotReadyError

node = InventoryLab(Path(sys.argv[1])).node("one")

def running(seconds):
    return node.run(["pgrep", "-f", f"^sleep {seconds}$"], check=False).out.split()

node.service("sleeper", ["sleep", "1000"], env={"A": "b c"}, ready=["sh", "-c", '[ "$A" = "b c" ]'])
first = running(1000)
assert len(first) == 1, first
node.run(["kill", "-KILL", *first])

def again():
    if running(1000) in ([], first):
        raise NotYet("it is dead")

wait_for("the service to come back", again, within=limit("service"))
(row,) = node.services()
assert (row["name"], row["active"], row["restarts"]) == ("sleeper", True, 1), row
node.stop_service("sleeper")
assert not running(1000), "stopped, and it runs"
assert node.services() == []

node.service("once", ["touch", "/run/once"], oneshot=True, stop=["rm", "/run/once"])
assert node.run(["cat", "/run/once"]).out == ""
node.stop_service("once")
assert node.run(["test", "-e", "/run/once"], check=False).status == 1, "not undone"

try:
    node.service("wrong", ["sh", "-c", "echo why; exit 3"], ready=["false"])
except NotReadyError as error:
    assert "ends again and again, with 3" in error.what and "why" in error.what, error
node.stop_service("wrong")
try:
    node.service("early", ["true"], before_engine=True)
except NotHereError as error:
    print(error)

stream = node.popen(["sh", "-c", "echo here; sleep 2000; :"])
assert stream.stdout.readline() == b"here\\n"
stream.stop()
assert not running(2000), "the stream's command goes on over there"
node.put("/etc/some/file", "text\\n", mode="0600")
assert node.get("/etc/some/file") == "text\\n"
assert node.docker.ping()

from io import BytesIO
from scapy.layers.inet import ICMP, TCP
from scapy.utils import rdpcap
lab = InventoryLab(Path(sys.argv[1]))
capture = lab.underlay.capture(node, most=1000)
data = capture.stdout.read(24)

def heard():
    global data
    node.run(["ping", "-c", "1", "-W", "1", "192.168.50.1"])  # ours, on the same wire as our commands
    data += capture.stdout.read(1 << 16)
    if not any(ICMP in p for p in rdpcap(BytesIO(data))):
        raise NotYet(f"{len(data)} bytes")

wait_for("an echo in the capture", heard, within=limit("overlay"))
capture.stop()
ours = [p for p in rdpcap(BytesIO(data)) if TCP in p and 22 in (p[TCP].sport, p[TCP].dport)]
assert not ours, f"a capture hears itself: {ours[:2]}"
print("done")
"""


def test_on_a_machine(three: Machines, owner: Owner) -> None:
    """Symptom: a tunnel's daemon is stopped, and its interface stays: dash knows no `kill -- -PID`."""
    done = three.run("-c", SCRIPT, owner.folder)
    assert done.returncode == 0, done.stderr
    assert "before the engine that holds it" in done.stdout
    assert done.stdout.splitlines()[-1] == "done"
