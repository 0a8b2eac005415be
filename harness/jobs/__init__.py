"""A benchmark on a Ray cluster: submitted as a Ray job, followed to its true end, its results brought home."""
