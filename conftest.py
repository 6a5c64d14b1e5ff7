"""The list of plugins: options and fixtures are in them."""

# Of two fixtures with one name the later plugin's holds: what scenarios know of a row comes last.
pytest_plugins = [
    "pytester",
    "reports.recorder",
    "fixtures.plugin",
    "fixtures.aftermath",
    "scenarios.questions",
    "scenarios.contract",
    "scenarios.sidecars",
    "scenarios.behind_nat",
    "scenarios.docker_contract",
]
