"""Asks the balancer 20 times a second on connections of its own, and writes down every answer, until it is ended."""

import http.client
import json
import ssl
import sys
import time

ADDRESS, LOG = sys.argv[1:]


def ask() -> tuple[int, str]:
    connection = http.client.HTTPSConnection(ADDRESS, timeout=10, context=ssl._create_unverified_context())
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


with open(LOG, "w", buffering=1) as log:  # noqa: PTH123
    while True:
        begun = time.time()
        status, body = ask()
        log.write(json.dumps({"time": begun, "status": status, "body": body}) + "\n")
        time.sleep(0.05)
