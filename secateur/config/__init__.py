"""The schema of params.yaml: one frozen section per stage, in stage order.

Each section is a module of its own, and this one imports none: the code of a stage holds the sections that its body
takes, so that another default makes no other stage stale. ``schema`` is the whole file.
"""
