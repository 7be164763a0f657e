"""The gateway process: HTTP in front of the decisions, on a Unix socket and on 127.0.0.1."""
