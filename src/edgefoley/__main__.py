"""``python -m edgefoley`` is the same as the command ``edgefoley``."""

from edgefoley.cli.main import main

if __name__ == "__main__":
    main()
