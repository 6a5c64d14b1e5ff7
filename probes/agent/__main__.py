"""Entry point of the agent (`python3 -m probes.agent`)."""

from .server import main

main()
