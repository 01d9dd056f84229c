"""Builds Airflow Dags from plans, and the maintenance Dags of clusters."""
