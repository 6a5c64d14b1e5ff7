"""A ZeroTier node: a daemon of ours over ZeroTier's own core 1.8.4, by its C API.

The core does everything that is ZeroTier (identities, encryption, paths, networks); what a node's program has
to bring is here: a UDP socket, TAP devices, a folder for its state, and a command line. It is started only
with a private planet: without one the core would take the public one that is built into it.

    linking.py      the shared library of the wheel, made loadable without the Python it was built for
    abi.py          the C API: functions, structures, constants
    addresses.py    socket addresses, as the core wants them
    wire.py         the UDP socket, and which addresses are never sent to
    state.py        the state folder, laid out as zerotier-one's
    node.py         the node: callbacks and the loop
    taps.py         TAP devices, one a network
    queries.py      info, peers, listnetworks, in zerotier-cli's shapes
    control.py      the control socket
    cli.py          zerotier-cli
    controller.py   a network controller: who is a member, and with which address
    planet.py       identities, and a planet of our own
"""
