"""Wait until a URL returns HTTP 200. Arguments: the URL, and the timeout in seconds."""

import sys
import time
import urllib.request

url, timeout = sys.argv[1], float(sys.argv[2])
deadline = time.monotonic() + timeout
no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    try:
        with no_proxy.open(url, timeout=5):
            sys.exit(0)
    except OSError as exc:
        if time.monotonic() > deadline:
            sys.exit(f"{url} is not ready after {timeout:g} s: {exc}")
    time.sleep(1)
