"""Hooks: they turn Airflow connections into transports."""
