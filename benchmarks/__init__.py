"""What the lab itself costs, against limits: `python -m benchmarks`. Measurements, never tests."""
