"""Intel's GPUs, which pycnn does not use."""


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0
