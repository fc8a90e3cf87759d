"""What holds for all tests."""

from hypothesis import settings

# A machine that is busy with other things makes an example slow, not wrong.
settings.register_profile("fabric", deadline=None)
settings.load_profile("fabric")
