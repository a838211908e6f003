"""Fixtures of the core."""

from tests.fixtures_models import *  # noqa: F403
