"""The Lambda function that turns a dropped manifest into a training job, exactly once (docs/adr/0002)."""
