"""From a project file, or none, to functions; and from what people type to events and variables."""
