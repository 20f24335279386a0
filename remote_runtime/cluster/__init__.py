"""A Dask cluster on several machines: certificates, the scheduler beside Jupyter, the workers."""
