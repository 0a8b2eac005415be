"""How one trial trains: its Lightning module, its workers, its checkpoints, and what it observes of itself."""
