"""The event store on Postgres: migrations, the files log, the decisions log, content. Built by app.bootstrap only."""
