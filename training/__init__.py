"""What runs in the container, and what a job is (`training.jobs`)."""
