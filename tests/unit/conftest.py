"""What all unit tests share."""

import asyncio

# looptime asks the policy for the loop of tests that have none, and the policy would make one
# that nobody closes; once a loop was set, it refuses instead.
asyncio.set_event_loop(None)
