"""Train face recognition on AWS, or on one machine: what runs where the user sits."""
