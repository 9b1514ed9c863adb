"""Runs untrusted Python. See :class:`Sandbox` for what it stops, and what it does not."""

from __future__ import annotations

from evolteacher.sandbox.box import Sandbox
from evolteacher.sandbox.guards import Guard
from evolteacher.sandbox.result import CheckResult

__all__ = ["CheckResult", "Guard", "Sandbox"]
