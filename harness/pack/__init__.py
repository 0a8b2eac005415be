"""Many small trials of one shape, trained as one program (plan.py says which, run.py runs them)."""
