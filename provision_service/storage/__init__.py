"""PostgreSQL: models, queries, encryption at rest and migrations of schema `provision`."""
