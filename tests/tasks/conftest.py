"""Fixtures of the core."""

from tests.fixtures_models import *  # noqa: F403
from tests.fixtures_plain import *  # noqa: F403
