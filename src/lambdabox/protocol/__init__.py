"""The rules of AWS Lambda without any I/O: events and the time go in, effects come out."""
