"""HTTP front ends: parse a request, call the engine, render its answer. No rules live here."""
