"""SageMaker's training jobs on one machine: the real wire protocol, the real rules, jobs as plain processes.

A request's way: `server` (TLS, HTTP) → `service` (who, may they, is it well formed) → `operations` → `jobs`.
A job's way: `jobs` (queue) → `lifecycle` (download, train, upload) → `channels`, `checkpoints`, `runner`,
`artifacts`, each with the credentials of the job's own role, and `telemetry` for its log lines and metrics.
`store` holds what DescribeTrainingJob says; `states` alone changes it.
"""
