"""How many rounds the tests of races take: enough by default, more when asked for."""

from __future__ import annotations

import os
from typing import Final

# A whole number; 10 makes ten times as many schedules as the default run.
TIMES: Final = max(1, int(os.environ.get("AGENTWORKSPACE_TEST_ROUNDS", "1")))
