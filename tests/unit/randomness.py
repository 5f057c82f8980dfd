"""How much the property tests try: the same histories each time, or many new ones for some minutes.

``HYPOTHESIS_PROFILE=long`` asks for the latter.
"""

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TIMES = 20 if LONG else 1


def trying(examples: int, *, steps: int = 50) -> settings:
    """Settings for so many examples; in the long profile for more of them, all new.

    Args:
        examples: in the usual profile.
        steps: of one history at most.
    """
    return settings(
        derandomize=not LONG,
        print_blob=LONG,
        deadline=None,
        database=None,
        max_examples=examples * TIMES,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        stateful_step_count=steps,
    )
