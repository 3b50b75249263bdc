"""The only place where effects are carried out: environments, their pools, the dispatcher, the clock."""
