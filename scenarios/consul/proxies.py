"""The paper's way to packages: a tinyproxy on each node, in front of a proxy that alone reaches the mirror.

    docker build on node1 -- tinyproxy node1:8888 --+-- 192.168.56.0/24: direct
                                                    +-- the rest: parent node2:3128 -- mirror 203.0.113.10

Proxies are given by address: whoever is behind one has no names. In the paper the parent is a company's;
here it is on node2, and the mirror behind it at an address that no other node has a route to.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fixtures.node import Node
from fixtures.waiting import NotYet, limit, wait_for
from overlab.model import Topology

LOCAL, PARENT = 8888, 3128
MIRROR = "203.0.113.10"  # RFC 5737: nobody's address
PACKAGES = ("busybox", "net-tools")
FOLDER = "/srv/mirror"
REPACK = Path(__file__).with_name("mirror.sh")


def url(node: Node) -> str:
    """Return the local proxy of `node`, by address."""
    return f"http://{node.address}:{LOCAL}"


def start(node: Node, topology: Topology) -> None:
    """Start the local proxy, and write the paper's two scripts that choose one."""
    parent = f"{topology.nodes[-1].address}:{PARENT}"
    ways = f'Upstream none "{topology.network}"\nUpstream http {parent}\n'
    node.put("/etc/tinyproxy/local.conf", _config(LOCAL, ways))
    for name, at in (("local", f"{node.address}:{LOCAL}"), ("external", parent)):
        node.put(f"/opt/proxy_{name}.sh", f"export http_proxy=http://{at} https_proxy=http://{at}\n")
    _serve(node, "tinyproxy", "local", LOCAL)


def stop(node: Node) -> None:
    """Undo `start`."""
    node.stop_service("tinyproxy")
    node.run(["rm", "-f", "/opt/proxy_local.sh", "/opt/proxy_external.sh", "/etc/tinyproxy/local.conf"])


def start_outside(node: Node) -> None:
    """Let `node` be the outside: the parent, and behind it a mirror with the packages of net-tools."""
    node.put("/usr/local/sbin/mirror", REPACK.read_text(), mode="0755")
    node.run(["mirror", FOLDER, *PACKAGES])
    address = ["ip", "address", "add", f"{MIRROR}/32", "dev", "lo"]
    node.service("outside", address, oneshot=True, stop=["ip", "address", "del", f"{MIRROR}/32", "dev", "lo"])
    node.service("mirror", ["busybox", "httpd", "-f", "-p", f"{MIRROR}:80", "-h", FOLDER])
    node.put("/etc/tinyproxy/parent.conf", _config(PARENT))
    _serve(node, "parent", "parent", PARENT)


def stop_outside(node: Node) -> None:
    """Undo `start_outside`."""
    for name in ("parent", "mirror", "outside"):
        node.stop_service(name)
    node.run(["rm", "-rf", FOLDER, "/usr/local/sbin/mirror", "/etc/tinyproxy/parent.conf"])


def requests(node: Node, name: str) -> str:
    """Return what a proxy of `node` says that it was asked for; addresses without the default port."""
    shown = node.run(["grep", "-h", "Request", f"/var/log/{name}.log"], check=False, quiet=True).out
    return shown.replace(f"{MIRROR}:80/", f"{MIRROR}/")


def _config(port: int, ways: str = "") -> str:
    return f"Port {port}\nTimeout 60\nMaxClients 50\nLogLevel Connect\nDisableViaHeader Yes\n{ways}"


def _serve(node: Node, name: str, config: str, port: int) -> None:
    node.service(name, ["tinyproxy", "-d", "-c", f"/etc/tinyproxy/{config}.conf"])
    wait_for(f"{name} of {node} to listen", partial(_listens, node, port), within=limit("service"))


def _listens(node: Node, port: int) -> None:
    if not node.run(["ss", "-Hltn", "sport", f"= :{port}"], quiet=True).out.strip():
        raise NotYet(f"nobody listens on {port}")
