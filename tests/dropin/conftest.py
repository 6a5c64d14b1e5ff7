"""The scenario here is dropped into a copy of the tree by a test: it is not one of the tree's own."""

collect_ignore = ["staticroutes"]
