"""What may keep a peer from being timed."""


class Unavailable(Exception):
    """A peer that cannot run here; the message says why."""


class WrongAnswer(Exception):
    """Peers that do not compute the same; nothing is timed."""
