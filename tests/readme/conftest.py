"""Processes and hosts, as their own tests have them."""

from distributed.conftest import group
from integrations.conftest import _quiet_and_afresh

__all__ = ["_quiet_and_afresh", "group"]
