"""The schema of params.yaml: one module per section, so that the code of a stage holds only the sections it takes."""
