"""Airflow begins here: connections become transports."""
