"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# Machines are shared: how long an example takes says nothing about the code. Examples are the same
# in every run, so that a commit that passed here passes elsewhere.
settings.register_profile(
    "shared_machine",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shared_machine")
