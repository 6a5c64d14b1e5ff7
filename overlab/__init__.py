"""overlab: a multi-node laboratory for container overlay networks."""
