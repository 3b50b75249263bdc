"""Answers after 100 ms, as a handler that waits for a database does."""

import time


def handler(event, context):
    time.sleep(0.1)
    return event
