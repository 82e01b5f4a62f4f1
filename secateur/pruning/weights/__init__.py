"""Single weights and N:M patterns: scores, choice, application, and what stays zero in training.

Makes files smaller; on a CPU nothing gets faster.
"""
