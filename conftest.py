"""The list of plugins: options and fixtures are in them."""

pytest_plugins = ["pytester", "fixtures.plugin", "fixtures.aftermath", "reports.recorder", "scenarios.contract"]
