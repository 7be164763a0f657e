"""Settings, Celery and Flower configuration, policies, flags and budgets; imports nothing of ours."""
