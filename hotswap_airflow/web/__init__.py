"""What hotswap adds to Airflow's api-server."""
