"""Redis as reply lists, feed and shared caches; the broker itself is spoken to by Celery (app/adapters/broker.py)."""
