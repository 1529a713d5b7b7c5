"""The command line: ``edgefoley generate | sound | models | doctor``."""
