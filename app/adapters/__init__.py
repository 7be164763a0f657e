"""Vendors behind ports: Redis, Postgres, Celery, disk."""
