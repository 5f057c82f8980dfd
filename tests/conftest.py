"""What all tests share."""

import asyncio

# The plugins for async tests ask the policy for the current loop, and the policy would make one
# that nobody closes; once a loop was set, it refuses instead.
asyncio.set_event_loop(None)
