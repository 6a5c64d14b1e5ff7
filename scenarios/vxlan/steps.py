"""The scripts that only this scenario needs: the namespace, the device, and its static entries."""

from __future__ import annotations

from ipaddress import IPv4Address

from scenarios.families.by_hand.base import VNI
from scenarios.families.by_hand.steps import BRIDGE, FOLDER, VXLAN, Place
from scenarios.families.vxlan.promise import PORT

NAMESPACE = "overns"
TELL, ENTER, ENTRIES = (f"{FOLDER}/{name}" for name in ("tell", "enter", "entries"))

NEW_NAMESPACE = f"""\
ip netns add {NAMESPACE}
ip -n {NAMESPACE} link set lo up
"""
OLD_NAMESPACE = f"ip netns del {NAMESPACE}\n"


def device(place: Place, *, misses: bool) -> str:
    """Return what makes the device, anew where there is one.

    Made outside and born inside: it sends by the node's own interface, and shows only in the namespace.
    """
    asking = " l3miss l2miss" if misses else ""
    kind = f"type vxlan id {VNI} dstport {PORT} proxy nolearning{asking}"
    return f"""\
{place.ip} link del {VXLAN} 2>/dev/null || true
ip link add {VXLAN} netns {place.namespace} mtu {place.mtu} {kind}
{place.ip} link set {VXLAN} master {BRIDGE} up
"""


def enter(place: Place, own: IPv4Address) -> str:
    """Return what writes one entry into both tables: enter ADDRESS MAC VTEP.

    What is on this node, or nowhere (an empty VTEP), has none.
    """
    return f"""\
if [ "${{3:-{own}}}" = {own} ]; then
    {place.ip} neigh del "$1" dev {VXLAN} 2>/dev/null || true
    {place.bridge} fdb del "$2" dev {VXLAN} self 2>/dev/null || true
else
    {place.ip} neigh replace "$1" lladdr "$2" dev {VXLAN} nud permanent
    {place.bridge} fdb replace "$2" dev {VXLAN} self permanent dst "$3"
fi
"""


TELL_ONE = f"""\
# tell ADDRESS MAC VTEP: enter it, and remember it for the next boot.
exec 9>{ENTRIES}.lock
flock 9
touch {ENTRIES}
{{ grep -v "^$1 " {ENTRIES} || true; if [ "$3" ]; then echo "$*"; fi; }} >{ENTRIES}.new
mv {ENTRIES}.new {ENTRIES}
sh -ex {ENTER} "$@"
"""
ENTER_ALL = f"""\
if [ -f {ENTRIES} ]; then while read -r one; do sh -ex {ENTER} $one; done <{ENTRIES}; fi
"""
