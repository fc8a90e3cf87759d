"""What holds for all tests."""

import os

from hypothesis import HealthCheck, settings

# A machine that is busy with other things makes an example slow, not wrong. Who asks for a number of examples looks for
# new ones; else they are the same each time, so that a change is judged by what it changes.
settings.register_profile(
    "fabric",
    deadline=None,
    derandomize="FABRIC_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fabric")
