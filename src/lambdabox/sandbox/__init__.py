"""Where an environment's processes run. `base` is the port; each other module is one backend and knows no other."""
