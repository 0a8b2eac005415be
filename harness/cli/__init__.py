"""The command `harness`, a file for each group of its verbs; `main` is where it begins."""
