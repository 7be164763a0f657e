"""The Celery application of one project, as WEIR_HOME and REDIS_URL say."""

from celery import Celery

from config.celery import worker_configuration
from config.settings import load

app = Celery("weir")
app.conf.update(worker_configuration(load()))
