"""`python -m overlab`: the verbs of `./lab`."""

from overlab.cli import main

if __name__ == "__main__":
    main()
