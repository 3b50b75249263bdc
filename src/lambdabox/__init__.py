"""AWS Lambda on your own machine: real runtimes on a real Runtime API, without Docker and without an account."""
