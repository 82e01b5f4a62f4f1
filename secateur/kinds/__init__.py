"""Kinds of task, one object and one file each: what differs between a model that labels and one that writes."""
