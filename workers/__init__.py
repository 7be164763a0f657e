"""Celery entry point: application, queues and task shells."""
