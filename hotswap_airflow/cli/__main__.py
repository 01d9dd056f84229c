"""``python -m hotswap_airflow.cli`` is ``hotswap``."""

import sys

from hotswap_airflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
