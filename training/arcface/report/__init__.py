"""What comes out of a job: `model` writes the model folder."""

from training.arcface.report.model import write_json, write_model

__all__ = ["write_json", "write_model"]
