"""The hub's command line: `python run.py` serves, `python run.py --help` lists the commands."""

from app.cli.main import main

if __name__ == "__main__":
    main()
