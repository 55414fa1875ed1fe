"""`python -m pellucid`."""

from pellucid.app import main

if __name__ == "__main__":
    main()
