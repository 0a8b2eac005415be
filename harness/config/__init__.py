"""Files that people write, read strictly: YAML with the line of each fault, grids of settings, `--set`."""
