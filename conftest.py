"""The list of plugins: options and fixtures are in them."""

# Of two fixtures with one name the later plugin's holds: what scenarios know of a row comes last.
pytest_plugins = [
    "pytester",
    "reports.recorder",
    "fixtures.plugin",
    "fixtures.aftermath",
    "scenarios.questions",
    "scenarios.contract",
    "scenarios.families.sidecars.contract",
    "scenarios.families.sidecars.behind_nat",
    "scenarios.families.vxlan.contract",
    "scenarios.families.docker.contract",
    "scenarios.families.by_hand.contract",
]
