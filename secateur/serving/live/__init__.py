"""What a server knows of its traffic: beside the training rows, beside what was right, beside another version.

All of it is counts in bins that are fixed when a version is loaded. A text stays for a second, and goes nowhere.
"""
