"""From plans to Airflow Dags, and the Dags that look after clusters."""
