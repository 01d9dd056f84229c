"""Research workflows on Slurm clusters, from Apache Airflow."""

__version__ = "0.1.0"
