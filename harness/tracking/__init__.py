"""The mirror of records at Weights & Biases: runs written offline, and their upload."""
