"""The services that a team shares, run on one machine: MLflow and Prefect on PostgreSQL, artifacts and data on S3."""
