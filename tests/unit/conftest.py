"""How many examples a property is tried on: few in `make check`, many in `make test` (--hypothesis-profile=many)."""

from hypothesis import settings

# no deadline: a machine that others use as well is no reason to fail
settings.register_profile("few", max_examples=100, deadline=None)
settings.register_profile("many", max_examples=800, deadline=None)
settings.load_profile("few")
