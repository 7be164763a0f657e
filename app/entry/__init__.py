"""Entry points: gateway, courier, command line, client, supervisor."""
