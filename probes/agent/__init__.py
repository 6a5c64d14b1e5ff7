"""The probe agent: one warm process in one network namespace, asked by JSON lines.

Run as `python3 -m probes.agent`. It needs Python 3.11's standard library (scapy only for ARP), NET_RAW
and NET_ADMIN, and nothing else of this tree, so that this folder alone goes into an image.

    → {"id": 1, "op": "udp_echo", "targets": [{"dst": "10.0.0.2", "port": 40000, "size": 64}]}
    ← {"id": 1, "ok": {"results": [...]}}    or    {"id": 1, "error": {"kind": ..., "message": ...}}

Its first line is a hello: {"hello": {"protocol", "pid", "interfaces", "udp_echo", "tcp_echo"}}.
It exits when its standard input closes.
"""

PROTOCOL = 1
