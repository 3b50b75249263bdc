"""Layers: folders and zip files that become one /opt."""
