"""`python -m dataflow` is the program `dataflow`."""

from dataflow.faces.cli import main

if __name__ == "__main__":
    main()
