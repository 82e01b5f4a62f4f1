"""The environment of our processes, where it says nothing else: quiet libraries that report to nobody."""

ENVIRONMENT = {
    # Read when torch is loaded. Threads that wait by spinning take the cores from whatever else runs: beside another
    # job a training step on two cores took ten times as long.
    "OMP_WAIT_POLICY": "passive",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow honours only the literal `true`
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Read when Prefect is imported: its handler at the root would print what every library says, and keep the stream.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime 1.32 would report to its makers from Linux too
    "TOKENIZERS_PARALLELISM": "true",
}
