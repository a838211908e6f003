"""Fixtures of the command line."""

from tests.fixtures_cli import *  # noqa: F403
