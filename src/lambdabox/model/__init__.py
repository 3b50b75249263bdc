"""Facts: what a function, an invocation and a telemetry record are, how they are named, and AWS's limits."""
