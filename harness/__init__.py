"""Train and compare recurrent networks: one YAML file in, one comparable table out."""

__version__ = "0.1.0"
