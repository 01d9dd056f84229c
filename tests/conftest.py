"""All tiers use the public fixtures of the product."""

pytest_plugins = ["hotswap_airflow.testing.fixtures"]
