"""Where stages run beside this process: Dask or Ray, on this machine or others; what is sent and what comes back."""
