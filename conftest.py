"""The list of plugins: options and fixtures are in them."""

pytest_plugins = ["pytester", "fixtures.plugin", "reports.recorder", "scenarios.contract"]
