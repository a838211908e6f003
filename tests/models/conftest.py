"""Fixtures of tiny networks and shards."""

from tests.fixtures_models import *  # noqa: F403
