"""How a runtime identifier becomes a process: which interpreter serves it and what it is started with."""
