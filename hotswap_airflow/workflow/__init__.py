"""The workflow language: a YAML file becomes a document, then a spec, then a plan.

The rooms, from the lowest to the highest. Code in a room may use the rooms before it::

    text        a file as text: YAML with places, causes of errors, numbers as written
    spec        the shape of workflow and site files: keys, types, references
    site        environments and clusters, as the checks and the plan use them
    context     what the checks work on: document, spec, folder and site
    checks      one module per topic
    checked     runs all checks on a workflow file
    plan        resolves a workflow without problems for one environment

Each module in ``checks`` both judges its topic and resolves it for the plan. To judge means to find the problems in a
file; to resolve means to give the plan the final value, for example the merged options of a job. Some modules only
judge.

``site_file`` reads a site file and uses ``checks``. ``run_state`` and ``job_request`` use a plan during a run, and
``param_text`` reads the parameters of a command line. Nothing here starts a program or uses Airflow. The files of a
workflow are only read through ``context.Folder``.
"""
