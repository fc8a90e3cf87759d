"""What goes wrong when the image is built."""


class BuildError(Exception):
    """The image cannot be built; the message says what is missing and how to get it."""
