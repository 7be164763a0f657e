"""The Celery application and its processes: `celery -A workers worker -Q validate`, `python -m workers.pool`.

Nothing is imported here: the pool's parent stays small, and `-A workers` finds workers.celery by itself.
"""
